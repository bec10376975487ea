"""What receivers of alerts get, against what their makers publish.

Slack's, Atlassian's and Google's own packages and the authors' of Standard Webhooks judge each line that
`cargo run -p hypergate-tests --example notices` writes.
"""

import json
import re
import unittest
from collections import defaultdict
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path

import opsgenie_sdk
from google.apps.chat_v1 import Message
from google.protobuf import json_format
from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block
from standardwebhooks import Webhook

OUTPUTS = Path(__file__).parents[2] / "target" / "oracles" / "notices.jsonl"
SECRET = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="


class Judge(unittest.TestCase):
    def each(self, kind):
        self.assertGreater(len(LINES[kind]), 5)
        for line in LINES[kind]:
            with self.subTest(f"{kind}: {line['case']}"):
                yield line, json.loads(line["body"])

    def test_slack(self):
        for _, body in self.each("slack"):
            for attachment in body["attachments"]:
                blocks = [Block.parse(block) for block in attachment["blocks"]]
                self.assertNotIn(None, blocks)
                for block, written in zip(blocks, attachment["blocks"]):
                    # Checks lengths and numbers; what it does not know it would leave out.
                    self.assertEqual(block.to_dict(), written)
                BlockAttachment(blocks=blocks, color=attachment["color"]).to_dict()

    def test_google_chat(self):
        for line, body in self.each("google_chat"):
            self.assertLessEqual(len(line["body"].encode()), 32_000)
            # Refuses fields it does not know.
            message = json_format.ParseDict(body, Message.pb()())
            self.assertEqual(len(message.cards_v2), 1)

    def test_opsgenie(self):
        known = {json_name: name for name, json_name in opsgenie_sdk.CreateAlertPayload.attribute_map.items()}
        for line, body in self.each("opsgenie"):
            if line["url"].endswith("/v2/alerts"):
                # Refuses fields it does not know.
                payload = opsgenie_sdk.CreateAlertPayload(**{known[name]: value for name, value in body.items()})
                self.assertTrue(all(isinstance(value, str) for value in payload.details.values()))
                self.assertLessEqual(sum(len(name) + len(value) for name, value in payload.details.items()), 8_000)
            else:
                action = re.fullmatch(r".*/v2/alerts/[^/]+/(close|acknowledge)\?identifierType=alias", line["url"])
                kind = {"close": opsgenie_sdk.CloseAlertPayload, "acknowledge": opsgenie_sdk.AcknowledgeAlertPayload}
                kind[action[1]](**body)

    def test_standard_webhooks(self):
        for line, _ in self.each("webhook"):
            headers = line["headers"]
            at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), timezone.utc)
            signature = Webhook(SECRET).sign(headers["webhook-id"], at, line["body"])
            self.assertEqual(headers["webhook-signature"], signature)
            self.assertLessEqual(len(line["body"].encode()), 20_000)

    def test_telegram(self):
        for _, body in self.each("telegram"):
            parsed = Parsed()
            parsed.feed(body["text"])
            parsed.close()
            self.assertEqual(parsed.open, [])
            self.assertLessEqual(parsed.tags, {"b", "i"})
            self.assertLessEqual(len("".join(parsed.text).encode("utf-16-le")) // 2, 4_096)

    def test_mail(self):
        for _, body in self.each("email"):
            parsed = Parsed()
            parsed.feed(body["html"])
            parsed.close()
            self.assertEqual(parsed.open, [])
            self.assertLessEqual(parsed.tags, {"html", "body", "h2", "p", "table", "tr", "th", "td"})


class Parsed(HTMLParser):
    """Which tags there are, and the text without them."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


def setUpModule():
    global LINES
    LINES = defaultdict(list)
    with OUTPUTS.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            LINES[line["kind"]].append(line)


if __name__ == "__main__":
    unittest.main()
