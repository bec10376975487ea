"""The signatures that shared/llm/tests/sigv4.rs expects, against those of botocore, Amazon's own library.

`--write`, run by target/venv/bin/python, makes the file anew: after another botocore was pinned, or cases were added.
"""

import datetime
import json
import sys
import unittest
from pathlib import Path
from unittest import mock

import botocore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

VECTORS = Path(__file__).parents[2] / "shared" / "llm" / "tests" / "sigv4_oracle.json"
MOMENT = datetime.datetime(2026, 1, 1, 0, 0, 7)
BEDROCK = "https://bedrock-runtime.{region}.amazonaws.com"
MODELS = [
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.anthropic.claude-sonnet-4-20250514-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
    "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/ab12cd34ef56",
    "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:provisioned-model/xyz",
    "with space+plus%percent~tilde_under-dash.dot",
    "größer",
]
BODIES = ["", "{}", '{"messages":[{"role":"user","content":[{"text":"Grüße \U0001f600"}]}]}']


def encoded(text):
    unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(b) if chr(b) in unreserved else f"%{b:02X}" for b in text.encode())


def signed(case):
    request = AWSRequest(
        method="POST",
        url=case["url"],
        data=case["body"].encode(),
        headers={"content-type": "application/json"},
    )
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", case["token"])
    with mock.patch("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: MOMENT):
        SigV4Auth(credentials, "bedrock", case["region"]).add_auth(request)
    assert request.headers["X-Amz-Date"] == "20260101T000007Z", request.headers
    return {**case, "authorization": request.headers["Authorization"]}


def cases():
    for number, model in enumerate(MODELS):
        for at, call in enumerate(("converse", "converse-stream", "invoke", "invoke-with-response-stream")):
            region = ("us-east-1", "eu-west-1", "us-gov-west-1")[number % 3]
            url = f"{BEDROCK.format(region=region)}/model/{encoded(model)}/{call}"
            for body_at, body in enumerate(BODIES):
                every_other = (at * len(BODIES) + body_at) % 2 == 1
                token = "AQoDYXdzEPT//////////wEXAMPLE==" if every_other else None
                yield {"url": url, "region": region, "token": token, "body": body}


def vectors():
    return {"botocore": botocore.__version__, "cases": [signed(case) for case in cases()]}


class Vectors(unittest.TestCase):
    maxDiff = None

    def test_are_what_the_pinned_library_signs(self):
        self.assertEqual(json.loads(VECTORS.read_text(encoding="utf-8")), vectors())


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        VECTORS.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        unittest.main()
