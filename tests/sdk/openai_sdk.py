"""The official Python SDK, used as its documentation says, with the gateway's address."""

import json
import os
import subprocess
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import openai
from pydantic import BaseModel

MODELS = ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"]
WORDS = "Hello there, dear friend."
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Recipe(BaseModel):
    name: str
    minutes: int


class OpenAISDK(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        serve = Path(__file__).parent / "lib" / "serve.mjs"
        cls.server = subprocess.Popen(
            [os.environ.get("NODE", "node"), serve], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        cls.addClassCleanup(cls.stop)
        cls.gateway = json.loads(cls.server.stdout.readline())
        cls.client = cls.caller(cls.gateway["key"])
        cls.addClassCleanup(cls.client.close)

    @classmethod
    def stop(cls):
        # The server ends with its input.
        cls.server.communicate(timeout=30)

    @classmethod
    def caller(cls, key):
        return openai.OpenAI(api_key=key, base_url=cls.gateway["base_url"], max_retries=0)

    def create(self, model, words, **more):
        messages = [{"role": "user", "content": words}]
        return self.client.chat.completions.create(model=model, messages=messages, **more)

    def record(self, call_id):
        """The record of a call, once it has arrived."""
        request = urllib.request.Request(
            f"{self.gateway['admin_url']}/calls/{call_id}",
            headers={"authorization": f"Bearer {self.gateway['admin_token']}"},
        )
        deadline = time.monotonic() + 15
        while True:
            try:
                with urllib.request.urlopen(request) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def test_lists_models_and_finds_one(self):
        ids = [model.id for model in self.client.models.list()]
        for name in ["fast", "demo/echo", *MODELS]:
            self.assertIn(name, ids)
        self.assertEqual(self.client.models.retrieve("openai/gpt-5-mini").owned_by, "openai")

    def test_answers_whole(self):
        for model in [*MODELS, "fast", "demo/echo"]:
            with self.subTest(model):
                answer = self.create(model, WORDS if model == "demo/echo" else "greet me")
                self.assertEqual(answer.choices[0].message.content, WORDS)
                self.assertEqual(answer.choices[0].finish_reason, "stop")
                self.assertEqual(answer.usage.completion_tokens, 4 if model == "demo/echo" else 7)

    def test_streams(self):
        for model in [*MODELS, "fast", "demo/echo"]:
            for options in [{}, {"stream_options": {"include_usage": True}}]:
                with self.subTest(model, **options):
                    words = WORDS if model == "demo/echo" else "greet me"
                    chunks = list(self.create(model, words, stream=True, **options))
                    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
                    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
                    self.assertEqual("".join(said), WORDS)
                    self.assertEqual([reason for reason in reasons if reason], ["stop"])
                    self.assertEqual(sum(chunk.usage is not None for chunk in chunks), len(options))

    def test_runs_tools_two_at_once(self):
        for model in MODELS:
            with self.subTest(model):
                messages = [{"role": "user", "content": "weather?"}]
                first = self.client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
                message = first.choices[0].message
                cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
                self.assertEqual((first.choices[0].finish_reason, cities), ("tool_calls", ["Oslo", "Bern"]))
                messages.append(message)
                for call in message.tool_calls:
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": "cold"})
                second = self.client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
                self.assertEqual(second.choices[0].message.content, "Cold in Oslo, warm in Bern.")

    def test_puts_streamed_tool_calls_together(self):
        for model in MODELS:
            with self.subTest(model):
                messages = [{"role": "user", "content": "weather?"}]
                with self.client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
                    message = stream.get_final_completion().choices[0].message
                cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
                self.assertEqual(cities, ["Oslo", "Bern"])

    def test_parses_what_has_the_shape_asked_for(self):
        for model in MODELS:
            with self.subTest(model):
                messages = [{"role": "user", "content": "recipe"}]
                answer = self.client.chat.completions.parse(model=model, messages=messages, response_format=Recipe)
                self.assertEqual(answer.choices[0].message.parsed, Recipe(name="Soup", minutes=20))

    def test_writes_sound_down(self):
        for size in [10, 3_000_000]:
            with self.subTest(size):
                sound = ("sound.mp3", b"x" * size)
                said = self.client.audio.transcriptions.create(model="openai/whisper-1", file=sound)
                self.assertEqual(said.text, WORDS)
                said = self.client.audio.translations.create(model="openai/whisper-1", file=sound)
                self.assertEqual(said.text, WORDS)

    def test_changes_a_picture(self):
        picture = ("picture.png", b"png", "image/png")
        made = self.client.images.edit(model="openai/gpt-image-1", image=picture, prompt="greet")
        self.assertEqual(made.data[0].b64_json, "AA==")

    def test_keeps_files_and_batches(self):
        line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
        lines = [json.dumps({**line, "body": {"model": "openai/gpt-5-mini", "messages": []}}) for _ in range(3)]
        file = self.client.files.create(file=("batch.jsonl", "\n".join(lines).encode()), purpose="batch")
        self.assertEqual(self.client.files.retrieve(file.id).purpose, "batch")
        self.assertIn(file.id, [known.id for known in self.client.files.list()])
        content = self.client.files.content(file.id).text.splitlines()
        self.assertEqual([json.loads(line)["body"]["model"] for line in content], ["gpt-5-mini"] * 3)
        batch = self.client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        self.assertEqual(self.client.batches.retrieve(batch.id).input_file_id, file.id)
        self.assertIn(batch.id, [known.id for known in self.client.batches.list()])
        with self.assertRaises(openai.NotFoundError):
            self.client.batches.retrieve("batch_of_another_tenant")
        self.assertTrue(self.client.files.delete(file.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            self.client.files.retrieve(file.id)

    def test_raises_what_the_sdk_raises_for_openai(self):
        for model in MODELS:
            with self.subTest(model):
                with self.assertRaises(openai.RateLimitError) as raised:
                    self.create(model, "hurry")
                self.assertEqual(raised.exception.code, "rate_limit_exceeded")
                self.assertEqual(raised.exception.response.headers["retry-after"], "30")
                with self.assertRaises(openai.InternalServerError) as raised:
                    self.create(model, "fail")
                self.assertEqual((raised.exception.status_code, raised.exception.code), (502, "upstream_error"))
                with self.assertRaises(openai.APIError) as raised:
                    list(self.create(model, "break off", stream=True))
                self.assertEqual(raised.exception.code, "upstream_truncated")

        narrow = self.caller(self.gateway["narrow_key"])
        nobody = self.caller("hg_nobody")
        for client, model, kind, code in [
            (nobody, "demo/echo", openai.AuthenticationError, "invalid_api_key"),
            (narrow, MODELS[0], openai.PermissionDeniedError, "model_not_allowed"),
            (self.client, "nobody/nothing", openai.NotFoundError, "model_not_found"),
        ]:
            with self.subTest(code), self.assertRaises(kind) as raised:
                client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
            self.assertEqual(raised.exception.code, code)
        narrow.close()
        nobody.close()

    def test_embeds_classifies_draws_speaks_and_completes(self):
        texts = ["one", "two"]
        plain = self.client.embeddings.create(model="openai/embed", input=texts, encoding_format="float")
        # Without a format the SDK asks for base64 and decodes it: made by the gateway, this provider has none.
        packed = self.client.embeddings.create(model="voyage/embed", input=texts)
        for one, other in zip(plain.data, packed.data, strict=True):
            self.assertEqual(len(one.embedding), len(other.embedding))
            self.assertAlmostEqual(one.embedding[0], other.embedding[0], places=6)
        with self.assertRaises(openai.BadRequestError) as raised:
            self.client.embeddings.create(model="voyage/embed", input=[[1, 2]])
        self.assertEqual(raised.exception.param, "input")
        self.assertFalse(self.client.moderations.create(input="greet").results[0].flagged)
        drawn = self.client.images.generate(model="openai/gpt-image-1", prompt="draw")
        self.assertEqual(drawn.data[0].b64_json, "AAAA")
        voice = {"model": "openai/tts-1", "input": "say", "voice": "ash"}
        with self.client.audio.speech.with_streaming_response.create(**voice) as sound:
            self.assertEqual(b"".join(sound.iter_bytes()), bytes([0xFF, 0xFB, 0x00, 0x80, 0x0A, 0x0D]))
        chunks = self.client.completions.create(model="demo/echo", prompt=WORDS, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks), WORDS)

    def test_talks_over_a_socket(self):
        def hear(kind):
            while (event := talk.recv()).type != kind:
                self.assertNotEqual(event.type, "error", event)
            return event

        with self.client.realtime.connect(model="openai/gpt-realtime") as talk:
            hear("session.created")
            ears = {"input": {"transcription": {"model": "openai/whisper-1"}}}
            talk.session.update(session={"type": "realtime", "audio": ears})
            self.assertEqual(hear("session.updated").session.audio.input.transcription.model, "whisper-1")
            content = [{"type": "input_text", "text": "greet me"}]
            talk.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            talk.response.create()
            self.assertEqual(hear("response.done").response.status, "completed")

        limited = self.caller(self.gateway["talk_key"])
        with limited.realtime.connect(model="openai/gpt-realtime") as talk:
            hear("session.created")
            talk.session.update(session={"type": "realtime", "audio": ears}, event_id="mine")
            event = talk.recv()
            self.assertEqual((event.type, event.error.code), ("error", "model_not_allowed"))
            self.assertEqual(event.error.event_id, "mine")
        limited.close()

        nobody = self.caller("hg_nobody")
        with self.assertRaises(Exception) as raised, nobody.realtime.connect(model="openai/gpt-realtime"):
            pass
        self.assertIn("401", str(raised.exception))
        nobody.close()

    def test_stops_in_the_middle(self):
        for model in MODELS:
            with self.subTest(model):
                stream = self.create(model, "go on", stream=True)
                call_id = stream.response.headers["x-hypergate-call-id"]
                next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
                stream.close()
                record = self.record(call_id)
                self.assertEqual((record["status"], record["outcome"]), (499, "aborted"))


if __name__ == "__main__":
    unittest.main()
