"""Every official Python SDK in every situation, with a model of every protocol.

Each client says how it does the same six things; what passed is noted for docs/matrix.md.
"""

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
import groq
import openai
from cohere.errors import TooManyRequestsError
from google import genai
from google.genai import errors, types
from mistralai.client import Mistral
from mistralai.client import errors as mistral_errors

MODELS = [
    "openai/gpt-5-mini",
    "anthropic/claude-haiku-4-5",
    "gemini/gemini-2.5-flash",
    # OpenAI serves its coding models by Responses alone.
    "openai/gpt-5-codex",
    "bedrock/amazon.nova-pro-v1:0",
    "cohere/command-a-03-2025",
]
WORDS = "Hello there, dear friend."
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RECIPE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "minutes": {"type": "integer"}},
    "required": ["name", "minutes"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "description": "The weather in a city.", "parameters": WEATHER}
TOOL = {"type": "function", "function": FUNCTION}
FORMAT = {"type": "json_schema", "json_schema": {"name": "recipe", "strict": True, "schema": RECIPE}}


def setUpModule():
    global gateway, root
    serve = Path(__file__).parent / "lib" / "serve.mjs"
    server = subprocess.Popen(
        [os.environ.get("NODE", "node"), serve], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    # The server ends with its input.
    unittest.addModuleCleanup(server.communicate, timeout=30)
    gateway = json.loads(server.stdout.readline())
    root = "http://" + urlsplit(gateway["base_url"]).netloc


def user(words):
    return [{"role": "user", "content": words}]


class ChatCompletions:
    """The clients that differ in little but their names."""

    def create(self, model, messages, **more):
        return self.client.chat.completions.create(model=model, messages=messages, **more)

    def plain(self, model, words):
        return self.create(model, user(words)).choices[0].message.content

    def streamed(self, model, words):
        chunks = self.create(model, user(words), stream=True)
        return [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]

    def tools(self, model):
        messages = user("weather?")
        first = self.create(model, messages, tools=[TOOL]).choices[0].message
        messages.append(first.model_dump(exclude_none=True))
        for call in first.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "cold"})
        return self.create(model, messages, tools=[TOOL]).choices[0].message.content

    def structured(self, model):
        return self.create(model, user("recipe"), response_format=FORMAT).choices[0].message.content


class OpenAI(ChatCompletions):
    name = "openai (Python), Chat Completions"
    limited = openai.RateLimitError
    broken = openai.APIError

    def __init__(self):
        self.client = openai.OpenAI(api_key=gateway["key"], base_url=gateway["base_url"], max_retries=0)


class Groq(ChatCompletions):
    name = "groq (Python)"
    limited = groq.RateLimitError
    broken = groq.APIError

    def __init__(self):
        self.client = groq.Groq(api_key=gateway["key"], base_url=root, max_retries=0)


class MistralAI:
    name = "mistralai (Python)"
    limited = mistral_errors.SDKError
    # It knows no error in a stream: it raises because it cannot read one, and shows the beginning.
    broken = mistral_errors.ResponseValidationError
    says = "'error': {'message':"

    def __init__(self):
        self.client = Mistral(api_key=gateway["key"], server_url=root)

    def plain(self, model, words):
        return self.client.chat.complete(model=model, messages=user(words)).choices[0].message.content

    def streamed(self, model, words):
        chunks = self.client.chat.stream(model=model, messages=user(words))
        return [chunk.data.choices[0].delta.content for chunk in chunks if chunk.data.choices and chunk.data.choices[0].delta.content]

    def tools(self, model):
        messages = user("weather?")
        first = self.client.chat.complete(model=model, messages=messages, tools=[TOOL]).choices[0].message
        messages.append(first)
        for call in first.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "cold"})
        return self.client.chat.complete(model=model, messages=messages, tools=[TOOL]).choices[0].message.content

    def structured(self, model):
        return self.client.chat.complete(model=model, messages=user("recipe"), response_format=FORMAT).choices[0].message.content


class Responses:
    name = "openai (Python), Responses"
    limited = openai.RateLimitError
    broken = openai.APIError

    def __init__(self):
        self.client = openai.OpenAI(api_key=gateway["key"], base_url=gateway["base_url"], max_retries=0)

    def plain(self, model, words):
        return self.client.responses.create(model=model, input=words).output_text

    def streamed(self, model, words):
        events = self.client.responses.create(model=model, input=words, stream=True)
        return [event.delta for event in events if event.type == "response.output_text.delta"]

    def tools(self, model):
        tools = [{"type": "function", "strict": False, **FUNCTION}]
        items = user("weather?")
        first = self.client.responses.create(model=model, input=items, tools=tools).output
        items += [item.model_dump(exclude_none=True) for item in first]
        for call in first:
            if call.type == "function_call":
                items.append({"type": "function_call_output", "call_id": call.call_id, "output": "cold"})
        return self.client.responses.create(model=model, input=items, tools=tools).output_text

    def structured(self, model):
        form = {"type": "json_schema", "name": "recipe", "strict": True, "schema": RECIPE}
        return self.client.responses.create(model=model, input="recipe", text={"format": form}).output_text


class Anthropic:
    name = "anthropic (Python)"
    limited = anthropic.RateLimitError
    broken = anthropic.APIError

    def __init__(self):
        self.client = anthropic.Anthropic(api_key=gateway["key"], base_url=root, max_retries=0)

    def create(self, model, messages, **more):
        return self.client.messages.create(model=model, max_tokens=1000, messages=messages, **more)

    def plain(self, model, words):
        return self.create(model, user(words)).content[-1].text

    def streamed(self, model, words):
        with self.client.messages.stream(model=model, max_tokens=1000, messages=user(words)) as stream:
            return list(stream.text_stream)

    def tools(self, model):
        tools = [{"name": "weather", "description": FUNCTION["description"], "input_schema": WEATHER}]
        messages = user("weather?")
        first = self.create(model, messages, tools=tools).content
        calls = [block for block in first if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "cold"} for call in calls]
        messages += [{"role": "assistant", "content": first}, {"role": "user", "content": results}]
        return self.create(model, messages, tools=tools).content[-1].text

    def structured(self, model):
        form = {"type": "json_schema", "schema": RECIPE}
        return self.create(model, user("recipe"), output_config={"format": form}).content[-1].text


class Google:
    name = "google-genai (Python)"
    limited = errors.ClientError
    broken = Exception

    def __init__(self):
        self.client = genai.Client(api_key=gateway["key"], http_options=types.HttpOptions(base_url=root))

    def create(self, model, contents, **config):
        config = types.GenerateContentConfig(**config)
        return self.client.models.generate_content(model=model, contents=contents, config=config)

    def plain(self, model, words):
        return self.create(model, words).text

    def streamed(self, model, words):
        chunks = self.client.models.generate_content_stream(model=model, contents=words)
        return [chunk.text for chunk in chunks if chunk.text]

    def tools(self, model):
        function = types.FunctionDeclaration(
            name="weather", description=FUNCTION["description"], parameters_json_schema=WEATHER
        )
        tools = [types.Tool(function_declarations=[function])]
        contents = [types.Content(role="user", parts=[types.Part(text="weather?")])]
        first = self.create(model, contents, tools=tools)
        results = [
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "cold"}))
            for call in first.function_calls
        ]
        contents += [first.candidates[0].content, types.Content(role="user", parts=results)]
        return self.create(model, contents, tools=tools).text

    def structured(self, model):
        return self.create(model, "recipe", response_mime_type="application/json", response_json_schema=RECIPE).text


class Cohere:
    name = "cohere (Python)"
    limited = TooManyRequestsError
    # Its protocol ends with a reason instead.
    broken = None

    def __init__(self):
        self.client = cohere.ClientV2(api_key=gateway["key"], base_url=root)

    def create(self, model, messages, **more):
        return self.client.chat(model=model, messages=messages, request_options={"max_retries": 0}, **more).message

    def plain(self, model, words):
        return self.create(model, user(words)).content[-1].text

    def streamed(self, model, words):
        events = list(self.client.chat_stream(model=model, messages=user(words)))
        if events[-1].delta.finish_reason == "ERROR":
            raise Broken(events[-1].delta)
        contents = [event.delta.message.content for event in events if event.type == "content-delta"]
        # What a model thought comes in them, too.
        return [content.text for content in contents if content.text]

    def tools(self, model):
        messages = user("weather?")
        first = self.create(model, messages, tools=[TOOL])
        messages.append({"role": "assistant", "tool_calls": first.tool_calls})
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "cold"} for call in first.tool_calls]
        return self.create(model, messages, tools=[TOOL]).content[-1].text

    def structured(self, model):
        form = {"type": "json_object", "schema": RECIPE}
        return self.create(model, user("recipe"), response_format=form).content[-1].text


class Bedrock:
    name = "boto3 (Python)"
    limited = botocore.exceptions.ClientError
    broken = botocore.exceptions.EventStreamError

    def __init__(self):
        # What the SDK does with AWS_BEARER_TOKEN_BEDROCK, but not to an address without TLS.
        def sign(request, **_):
            request.headers["authorization"] = f"Bearer {gateway['key']}"

        config = botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
        self.client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=root, config=config)
        self.client.meta.events.register("before-sign.bedrock-runtime", sign)

    def said(self, words):
        return [{"role": "user", "content": [{"text": words}]}]

    def create(self, model, messages, **more):
        return self.client.converse(modelId=model, messages=messages, **more)["output"]["message"]

    def plain(self, model, words):
        return self.create(model, self.said(words))["content"][-1]["text"]

    def streamed(self, model, words):
        events = self.client.converse_stream(modelId=model, messages=self.said(words))["stream"]
        deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
        # What a model thought comes in them, too.
        return [delta["text"] for delta in deltas if "text" in delta]

    def tools(self, model):
        spec = {"name": "weather", "description": FUNCTION["description"], "inputSchema": {"json": WEATHER}}
        tools = {"tools": [{"toolSpec": spec}]}
        messages = self.said("weather?")
        first = self.create(model, messages, toolConfig=tools)
        calls = [block["toolUse"] for block in first["content"] if "toolUse" in block]
        results = [{"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "cold"}]}} for call in calls]
        messages += [first, {"role": "user", "content": results}]
        return self.create(model, messages, toolConfig=tools)["content"][-1]["text"]

    def structured(self, model):
        schema = {"name": "recipe", "schema": json.dumps(RECIPE)}
        form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        return self.create(model, self.said("recipe"), outputConfig=form)["content"][-1]["text"]


class Broken(Exception):
    """A stream said in its protocol's own way that it broke off."""


CLIENTS = [Anthropic, Bedrock, Cohere, Google, Groq, MistralAI, OpenAI, Responses]


class Situations(unittest.TestCase):
    def each(self, situation, check):
        for kind in CLIENTS:
            client = kind()
            for model in MODELS:
                with self.subTest(client=client.name, model=model):
                    check(client, model)
                    shown(client.name, situation, model)

    def test_plain(self):
        self.each("plain", lambda client, model: self.assertEqual(client.plain(model, "greet me"), WORDS))

    def test_streamed(self):
        def check(client, model):
            pieces = client.streamed(model, "greet me")
            self.assertEqual("".join(pieces), WORDS)
            self.assertGreater(len(pieces), 1)

        self.each("streamed", check)

    def test_tool_loop(self):
        self.each("tool loop", lambda client, model: self.assertEqual(client.tools(model), "Cold in Oslo, warm in Bern."))

    def test_structured_output(self):
        def check(client, model):
            self.assertEqual(json.loads(client.structured(model)), {"name": "Soup", "minutes": 20})

        self.each("structured output", check)

    def test_upstream_error(self):
        def check(client, model):
            with self.assertRaises(client.limited) as raised:
                client.plain(model, "hurry")
            self.assertIn("Slow down", str(raised.exception))

        self.each("upstream error", check)

    def test_cut_in_mid_stream(self):
        def check(client, model):
            with self.assertRaises(client.broken or Exception) as raised:
                client.streamed(model, "break off")
            self.assertIn(getattr(client, "says", "broke off"), str(raised.exception))

        self.each("cut in mid-stream", check)


def shown(client, situation, model):
    if folder := os.environ.get("HYPERGATE_SHOWN"):
        with open(Path(folder) / "sdk-python.jsonl", "a", encoding="utf-8") as lines:
            print(json.dumps({"client": client, "situation": situation, "model": model}), file=lines)


if __name__ == "__main__":
    unittest.main()
