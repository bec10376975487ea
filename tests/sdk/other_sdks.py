"""The official Python SDKs of Anthropic, AWS, Cohere and Google, each with a model of every protocol."""

import json
import os
import subprocess
import unittest
from pathlib import Path
from urllib.parse import urlsplit

import anthropic
import boto3
import botocore
import botocore.config
import botocore.exceptions
import cohere
from google import genai
from google.genai import errors, types

MODELS = ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash", "fast"]
WORDS = "Hello there, dear friend."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DESCRIPTION = "The weather in a city."
CITIES = ["Oslo", "Bern"]
REPORT = "Cold in Oslo, warm in Bern."


def setUpModule():
    global gateway, server, root
    serve = Path(__file__).parent / "lib" / "serve.mjs"
    server = subprocess.Popen(
        [os.environ.get("NODE", "node"), serve], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    # The server ends with its input.
    unittest.addModuleCleanup(server.communicate, timeout=30)
    gateway = json.loads(server.stdout.readline())
    root = "http://" + urlsplit(gateway["base_url"]).netloc


class AnthropicSDK(unittest.TestCase):
    def setUp(self):
        self.client = anthropic.Anthropic(api_key=gateway["key"], base_url=root, max_retries=0)
        self.addCleanup(self.client.close)

    def ask(self, model, messages, **more):
        return dict(model=model, max_tokens=1000, messages=messages, **more)

    def test_models(self):
        ids = [model.id for model in self.client.models.list(limit=50)]
        for model in MODELS:
            self.assertIn(model, ids)
        found = self.client.models.retrieve("anthropic/claude-haiku-4-5")
        self.assertEqual((found.id, found.type), ("anthropic/claude-haiku-4-5", "model"))

    def test_whole_and_streamed(self):
        said = [{"role": "user", "content": "greet me"}]
        for model in MODELS:
            with self.subTest(model=model):
                message = self.client.messages.create(**self.ask(model, said))
                self.assertEqual((message.content[0].text, message.stop_reason), (WORDS, "end_turn"))
                with self.client.messages.stream(**self.ask(model, said)) as stream:
                    pieces = list(stream.text_stream)
                    final = stream.get_final_message()
                self.assertEqual("".join(pieces), WORDS)
                self.assertGreater(len(pieces), 1)
                self.assertEqual(final.usage.output_tokens, 7)

    def test_tools_over_two_turns(self):
        tools = [{"name": "weather", "description": DESCRIPTION, "input_schema": SCHEMA}]
        for model in MODELS[:3]:
            with self.subTest(model=model):
                said = [{"role": "user", "content": "weather?"}]
                first = self.client.messages.create(**self.ask(model, said, tools=tools))
                calls = [block for block in first.content if block.type == "tool_use"]
                self.assertEqual([call.input["city"] for call in calls], CITIES)
                results = [{"type": "tool_result", "tool_use_id": call.id, "content": "cold"} for call in calls]
                said += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
                second = self.client.messages.create(**self.ask(model, said, tools=tools))
                self.assertEqual(second.content[0].text, REPORT)

    def test_errors(self):
        for model in MODELS[:3]:
            with self.subTest(model=model):
                with self.assertRaises(anthropic.RateLimitError) as raised:
                    self.client.messages.create(**self.ask(model, [{"role": "user", "content": "hurry"}]))
                # Read from the header `request-id`.
                self.assertEqual(raised.exception.request_id, raised.exception.response.headers["x-request-id"])
                with self.assertRaisesRegex(anthropic.APIError, "broke off"):
                    with self.client.messages.stream(**self.ask(model, [{"role": "user", "content": "break off"}])) as stream:
                        stream.get_final_message()


class GoogleSDK(unittest.TestCase):
    def setUp(self):
        self.client = genai.Client(api_key=gateway["key"], http_options=types.HttpOptions(base_url=root))

    def test_whole_and_streamed(self):
        for model in MODELS:
            with self.subTest(model=model):
                answer = self.client.models.generate_content(model=model, contents="greet me")
                self.assertEqual((answer.text, answer.usage_metadata.candidates_token_count), (WORDS, 7))
                chunks = list(self.client.models.generate_content_stream(model=model, contents="greet me"))
                self.assertEqual("".join(chunk.text or "" for chunk in chunks), WORDS)
                self.assertGreater(len(chunks), 2)

    def test_tools_over_two_turns(self):
        declaration = types.FunctionDeclaration(name="weather", description=DESCRIPTION, parameters_json_schema=SCHEMA)
        config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declaration])])
        for model in MODELS[:3]:
            with self.subTest(model=model):
                said = [types.Content(role="user", parts=[types.Part(text="weather?")])]
                first = self.client.models.generate_content(model=model, contents=said, config=config)
                self.assertEqual([call.args["city"] for call in first.function_calls], CITIES)
                results = [
                    types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "cold"}))
                    for call in first.function_calls
                ]
                said += [first.candidates[0].content, types.Content(role="user", parts=results)]
                second = self.client.models.generate_content(model=model, contents=said, config=config)
                self.assertEqual(second.text, REPORT)

    def test_errors(self):
        for model in MODELS[:3]:
            with self.subTest(model=model):
                with self.assertRaises(errors.ClientError) as raised:
                    self.client.models.generate_content(model=model, contents="hurry")
                self.assertEqual(raised.exception.code, 429)
                with self.assertRaisesRegex(Exception, "broke off"):
                    list(self.client.models.generate_content_stream(model=model, contents="break off"))


class CohereSDK(unittest.TestCase):
    def setUp(self):
        self.client = cohere.ClientV2(api_key=gateway["key"], base_url=root)

    def test_whole_and_streamed(self):
        said = [{"role": "user", "content": "greet me"}]
        for model in MODELS:
            with self.subTest(model=model):
                answer = self.client.chat(model=model, messages=said)
                self.assertEqual((answer.message.content[0].text, answer.finish_reason), (WORDS, "COMPLETE"))
                events = list(self.client.chat_stream(model=model, messages=said))
                pieces = [event.delta.message.content.text for event in events if event.type == "content-delta"]
                self.assertEqual("".join(pieces), WORDS)
                self.assertGreater(len(pieces), 1)
                self.assertEqual(events[-1].delta.usage.billed_units.output_tokens, 7)

    def test_tools_over_two_turns(self):
        function = {"name": "weather", "description": DESCRIPTION, "parameters": SCHEMA}
        tools = [{"type": "function", "function": function}]
        for model in MODELS[:3]:
            with self.subTest(model=model):
                said = [{"role": "user", "content": "weather?"}]
                first = self.client.chat(model=model, messages=said, tools=tools).message
                self.assertEqual([json.loads(call.function.arguments)["city"] for call in first.tool_calls], CITIES)
                said.append({"role": "assistant", "tool_calls": first.tool_calls})
                said += [{"role": "tool", "tool_call_id": call.id, "content": "cold"} for call in first.tool_calls]
                second = self.client.chat(model=model, messages=said, tools=tools).message
                self.assertEqual(second.content[0].text, REPORT)

    def test_reranks(self):
        ranked = self.client.rerank(model="cohere/rerank-v3.5", query="greet", documents=["a", "b"], top_n=2)
        self.assertEqual([result.index for result in ranked.results], [1, 0])
        with self.assertRaisesRegex(cohere.errors.BadRequestError, "does not serve `rerank`"):
            self.client.rerank(model="openai/gpt-5-mini", query="greet", documents=["a"])

    def test_errors(self):
        for model in MODELS[:3]:
            with self.subTest(model=model):
                with self.assertRaises(cohere.errors.TooManyRequestsError):
                    said = [{"role": "user", "content": "hurry"}]
                    self.client.chat(model=model, messages=said, request_options={"max_retries": 0})
                said = [{"role": "user", "content": "break off"}]
                last = list(self.client.chat_stream(model=model, messages=said))[-1]
                self.assertEqual((last.type, last.delta.finish_reason), ("message-end", "ERROR"))


class BedrockSDK(unittest.TestCase):
    def setUp(self):
        # What the SDK does with AWS_BEARER_TOKEN_BEDROCK, but not to an address without TLS.
        def sign(request, **_):
            request.headers["authorization"] = f"Bearer {gateway['key']}"

        config = botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
        self.client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=root, config=config)
        self.client.meta.events.register("before-sign.bedrock-runtime", sign)
        self.addCleanup(self.client.close)

    def test_whole_and_streamed(self):
        said = [{"role": "user", "content": [{"text": "greet me"}]}]
        for model in MODELS:
            with self.subTest(model=model):
                answer = self.client.converse(modelId=model, messages=said)
                self.assertEqual((answer["output"]["message"]["content"][0]["text"], answer["stopReason"]), (WORDS, "end_turn"))
                events = list(self.client.converse_stream(modelId=model, messages=said)["stream"])
                pieces = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
                self.assertEqual("".join(pieces), WORDS)
                self.assertGreater(len(pieces), 1)
                self.assertEqual(events[-1]["metadata"]["usage"]["outputTokens"], 7)

    def test_tools_over_two_turns(self):
        spec = {"name": "weather", "description": DESCRIPTION, "inputSchema": {"json": SCHEMA}}
        tools = {"tools": [{"toolSpec": spec}]}
        for model in MODELS[:3]:
            with self.subTest(model=model):
                said = [{"role": "user", "content": [{"text": "weather?"}]}]
                first = self.client.converse(modelId=model, messages=said, toolConfig=tools)["output"]["message"]
                calls = [block["toolUse"] for block in first["content"] if "toolUse" in block]
                self.assertEqual([call["input"]["city"] for call in calls], CITIES)
                results = [
                    {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "cold"}]}} for call in calls
                ]
                said += [first, {"role": "user", "content": results}]
                second = self.client.converse(modelId=model, messages=said, toolConfig=tools)["output"]["message"]
                self.assertEqual(second["content"][0]["text"], REPORT)

    def test_errors(self):
        for model in MODELS[:3]:
            with self.subTest(model=model):
                # Chosen by the header `x-amzn-errortype`.
                with self.assertRaises(self.client.exceptions.ThrottlingException) as raised:
                    self.client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": "hurry"}]}])
                metadata = raised.exception.response["ResponseMetadata"]
                self.assertEqual(metadata["HTTPStatusCode"], 429)
                self.assertEqual(metadata["RequestId"], metadata["HTTPHeaders"]["x-request-id"])
                said = [{"role": "user", "content": [{"text": "break off"}]}]
                with self.assertRaisesRegex(botocore.exceptions.EventStreamError, "broke off"):
                    list(self.client.converse_stream(modelId=model, messages=said)["stream"])


if __name__ == "__main__":
    unittest.main()
