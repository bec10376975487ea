// Every official JavaScript SDK in every situation, with a model of every protocol.
//
// Each client says how it does the same six things; what passed is noted for docs/matrix.md.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import { Output, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';
import Groq from 'groq-sdk';
import OpenAI from 'openai';

import { say } from '../hosts/lib/gateway.mjs';
import { RECIPE, SCHEMA, TOOLS, WORDS } from '../hosts/lib/mock.mjs';
import { EVERY_PROTOCOL, startGateway } from './lib/gateway.mjs';

const { name, description, parameters } = TOOLS[0].function;
const RECIPE_SCHEMA = SCHEMA.json_schema.schema;

/** The clients that differ in little but their names. */
const chatCompletions = (client) => {
  const create = (model, messages, more) => client.chat.completions.create({ model, messages, ...more });
  const said = async (answer) => (await answer).choices[0].message;
  return {
    plain: async (model, words) => (await said(create(model, say(words)))).content,
    async streamed(model, words) {
      const chunks = await Array.fromAsync(await create(model, say(words), { stream: true }));
      return chunks.map(({ choices }) => choices[0]?.delta.content).filter(Boolean);
    },
    async tools(model) {
      const messages = say('weather?');
      const first = await said(create(model, messages, { tools: TOOLS }));
      const results = first.tool_calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'cold' }));
      return (await said(create(model, [...messages, first, ...results], { tools: TOOLS }))).content;
    },
    structured: async (model) =>
      JSON.parse((await said(create(model, say('recipe'), { response_format: SCHEMA }))).content),
  };
};

const responses = (client) => {
  const create = (model, input, more) => client.responses.create({ model, input, ...more });
  const tools = [{ type: 'function', strict: false, name, description, parameters }];
  return {
    plain: async (model, words) => (await create(model, words)).output_text,
    async streamed(model, words) {
      const events = await Array.fromAsync(await create(model, words, { stream: true }));
      return events.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta);
    },
    async tools(model) {
      const input = say('weather?');
      const { output } = await create(model, input, { tools });
      const calls = output.filter(({ type }) => type === 'function_call');
      const results = calls.map(({ call_id }) => ({ type: 'function_call_output', call_id, output: 'cold' }));
      return (await create(model, [...input, ...output, ...results], { tools })).output_text;
    },
    async structured(model) {
      const format = { type: 'json_schema', name: 'recipe', strict: true, schema: RECIPE_SCHEMA };
      return JSON.parse((await create(model, 'recipe', { text: { format } })).output_text);
    },
  };
};

const messages = (client) => {
  const body = (model, said, more) => ({ model, max_tokens: 1000, messages: said, ...more });
  const create = (model, said, more) => client.messages.create(body(model, said, more));
  const tools = [{ name, description, input_schema: parameters }];
  return {
    plain: async (model, words) => (await create(model, say(words))).content.at(-1).text,
    async streamed(model, words) {
      const pieces = [];
      const stream = client.messages.stream(body(model, say(words)));
      await stream.on('text', (text) => pieces.push(text)).finalMessage();
      return pieces;
    },
    async tools(model) {
      const { content } = await create(model, say('weather?'), { tools });
      const calls = content.filter(({ type }) => type === 'tool_use');
      const results = calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'cold' }));
      const said = [...say('weather?'), { role: 'assistant', content }, { role: 'user', content: results }];
      return (await create(model, said, { tools })).content.at(-1).text;
    },
    async structured(model) {
      const format = { type: 'json_schema', schema: RECIPE_SCHEMA };
      return JSON.parse((await create(model, say('recipe'), { output_config: { format } })).content.at(-1).text);
    },
  };
};

const generateContent = (client) => {
  const create = (model, contents, config) => client.models.generateContent({ model, contents, config });
  const tools = [{ functionDeclarations: [{ name, description, parametersJsonSchema: parameters }] }];
  return {
    plain: async (model, words) => (await create(model, words)).text,
    async streamed(model, words) {
      const stream = await client.models.generateContentStream({ model, contents: words });
      return (await Array.fromAsync(stream)).map(({ text }) => text).filter(Boolean);
    },
    async tools(model) {
      const contents = [{ role: 'user', parts: [{ text: 'weather?' }] }];
      const first = await create(model, contents, { tools });
      const parts = first.functionCalls.map((call) => {
        return { functionResponse: { id: call.id, name: call.name, response: { output: 'cold' } } };
      });
      const { content } = first.candidates[0];
      return (await create(model, [...contents, content, { role: 'user', parts }], { tools })).text;
    },
    async structured(model) {
      const config = { responseMimeType: 'application/json', responseJsonSchema: RECIPE_SCHEMA };
      return JSON.parse((await create(model, 'recipe', config)).text);
    },
  };
};

/** Vercel's, which is one client over several protocols. */
const ai = (provider) => ({
  plain: async (model, prompt) => (await generateText({ model: provider(model), prompt, maxRetries: 0 })).text,
  async streamed(model, prompt) {
    let failure;
    const onError = ({ error }) => (failure = error);
    const { textStream } = streamText({ model: provider(model), prompt, maxRetries: 0, onError });
    const pieces = await Array.fromAsync(textStream);
    if (failure) throw failure;
    return pieces;
  },
  async tools(model) {
    const weather = tool({ description, inputSchema: jsonSchema(parameters), execute: () => 'cold' });
    const request = { model: provider(model), prompt: 'weather?', tools: { weather }, maxRetries: 0 };
    return (await generateText({ ...request, stopWhen: stepCountIs(2) })).text;
  },
  async structured(model) {
    const output = Output.object({ name: 'recipe', schema: jsonSchema(RECIPE_SCHEMA) });
    return (await generateText({ model: provider(model), prompt: 'recipe', output, maxRetries: 0 })).output;
  },
});

const CLIENTS = {
  '@ai-sdk/anthropic (Vercel AI SDK)': (key, root) =>
    ai(createAnthropic({ apiKey: key, baseURL: `${root}/v1` })),
  // It takes a name with a slash for the whole path.
  '@ai-sdk/google (Vercel AI SDK)': (key, root) => {
    const google = createGoogleGenerativeAI({ apiKey: key, baseURL: `${root}/v1beta` });
    return ai((model) => google(`models/${model}`));
  },
  '@ai-sdk/openai (Vercel AI SDK), Chat Completions': (key, root) =>
    ai(createOpenAI({ apiKey: key, baseURL: `${root}/v1` }).chat),
  '@ai-sdk/openai (Vercel AI SDK), Responses': (key, root) =>
    ai(createOpenAI({ apiKey: key, baseURL: `${root}/v1` }).responses),
  '@anthropic-ai/sdk (JavaScript)': (apiKey, baseURL) => messages(new Anthropic({ apiKey, baseURL, maxRetries: 0 })),
  '@google/genai (JavaScript)': (apiKey, baseUrl) =>
    generateContent(new GoogleGenAI({ apiKey, httpOptions: { baseUrl } })),
  'groq-sdk (JavaScript)': (apiKey, baseURL) => chatCompletions(new Groq({ apiKey, baseURL, maxRetries: 0 })),
  'openai (JavaScript), Chat Completions': (apiKey, root) =>
    chatCompletions(new OpenAI({ apiKey, baseURL: `${root}/v1`, maxRetries: 0 })),
  'openai (JavaScript), Responses': (apiKey, root) =>
    responses(new OpenAI({ apiKey, baseURL: `${root}/v1`, maxRetries: 0 })),
};

const SITUATIONS = {
  plain: async (client, model) => assert.equal(await client.plain(model, 'greet me'), WORDS),
  async streamed(client, model) {
    const pieces = await client.streamed(model, 'greet me');
    assert.equal(pieces.join(''), WORDS);
    assert.ok(pieces.length > 1, 'in more than one piece');
  },
  'tool loop': async (client, model) => assert.equal(await client.tools(model), 'Cold in Oslo, warm in Bern.'),
  'structured output': async (client, model) => assert.deepEqual(await client.structured(model), RECIPE),
  'upstream error': (client, model) =>
    assert.rejects(client.plain(model, 'hurry'), (error) => {
      assert.equal(error.status ?? error.statusCode, 429, error.stack);
      assert.match(error.message, /Slow down/);
      return true;
    }),
  'cut in mid-stream': (client, model) =>
    assert.rejects(client.streamed(model, 'break off'), (error) => {
      assert.match(error.message ?? JSON.stringify(error), /broke off/);
      return true;
    }),
};

describe('every SDK in every situation', () => {
  let gateway;
  before(async () => (gateway = await startGateway()));
  after(() => gateway?.stop());

  for (const [client, make] of Object.entries(CLIENTS)) {
    for (const [situation, check] of Object.entries(SITUATIONS)) {
      for (const model of EVERY_PROTOCOL) {
        it(`${client}: ${situation}: ${model}`, async () => {
          await check(make(gateway.key, new URL(gateway.base_url).origin), model);
          shown({ client, situation, model });
        });
      }
    }
  }
});

function shown(line) {
  const folder = process.env.HYPERGATE_SHOWN;
  if (folder) appendFileSync(path.join(folder, 'sdk-node.jsonl'), `${JSON.stringify(line)}\n`);
}
