// The official JavaScript SDK, used as its documentation says, with the gateway's address.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import OpenAI from 'openai';

import { say } from '../hosts/lib/gateway.mjs';
import { RECIPE, SCHEMA, SOUND, TOOLS, WORDS } from '../hosts/lib/mock.mjs';
import { until } from '../hosts/lib/wait.mjs';
import { MODELS, startGateway } from './lib/gateway.mjs';

describe('the openai package', () => {
  let gateway, client;

  before(async () => {
    gateway = await startGateway();
    client = as(gateway.key);
  });
  after(() => gateway?.stop());

  const as = (apiKey) => new OpenAI({ apiKey, baseURL: gateway.base_url, maxRetries: 0 });
  const create = (model, words, more) => client.chat.completions.create({ model, messages: say(words), ...more });

  it('lists models and finds one', async () => {
    const ids = [];
    for await (const { id } of client.models.list()) ids.push(id);
    for (const id of ['fast', 'demo/echo', ...MODELS]) assert.ok(ids.includes(id), id);
    const model = await client.models.retrieve('openai/gpt-5-mini');
    assert.deepEqual([model.id, model.object, model.owned_by], ['openai/gpt-5-mini', 'model', 'openai']);
    assert.equal(model.context_window, 272_000);
  });

  for (const model of [...MODELS, 'fast', 'demo/echo']) {
    const isDemo = model === 'demo/echo';
    const words = isDemo ? WORDS : 'greet me';

    it(`answers whole: ${model}`, async () => {
      const { choices, usage } = await create(model, words);
      assert.deepEqual([choices[0].message.content, choices[0].finish_reason], [WORDS, 'stop']);
      assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
      assert.equal(usage.completion_tokens, isDemo ? 4 : 7);
    });

    it(`streams: ${model}`, async () => {
      for (const include_usage of [undefined, true]) {
        const stream_options = include_usage && { include_usage };
        const stream = await create(model, words, { stream: true, stream_options });
        const chunks = await Array.fromAsync(stream);
        const said = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
        const reasons = chunks.map(({ choices }) => choices[0]?.finish_reason).filter(Boolean);
        const counted = chunks.filter(({ usage }) => usage);
        assert.deepEqual([said, reasons], [WORDS, ['stop']]);
        assert.ok(chunks.length > 2, 'in more than one piece');
        assert.equal(counted.length, include_usage ? 1 : 0);
        if (include_usage) assert.equal(counted[0].usage.completion_tokens, isDemo ? 4 : 7);
      }
    });
  }

  for (const model of MODELS) {
    it(`runs tools, two at once: ${model}`, async () => {
      const cities = [];
      const answer = ({ city }) => {
        cities.push(city);
        return 'cold';
      };
      const weather = { ...TOOLS[0].function, parse: JSON.parse, function: answer };
      for (const stream of [false, true]) {
        cities.length = 0;
        const runner = client.chat.completions.runTools({
          model,
          stream,
          messages: say('weather?'),
          tools: [{ type: 'function', function: weather }],
        });
        assert.equal(await runner.finalContent(), 'Cold in Oslo, warm in Bern.');
        assert.deepEqual(cities, ['Oslo', 'Bern']);
      }
    });

    it(`puts streamed tool calls together: ${model}`, async () => {
      const stream = client.chat.completions.stream({ model, messages: say('weather?'), tools: TOOLS });
      const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
      const calls = message.tool_calls.map(({ function: { name, arguments: text } }) => [name, JSON.parse(text).city]);
      assert.deepEqual([finish_reason, calls], ['tool_calls', [['weather', 'Oslo'], ['weather', 'Bern']]]);
    });

    it(`answers in the shape asked for: ${model}`, async () => {
      const { choices } = await create(model, 'recipe', { response_format: SCHEMA });
      assert.deepEqual(JSON.parse(choices[0].message.content), RECIPE);
    });

    it(`throws what the SDK throws for OpenAI: ${model}`, async () => {
      await assert.rejects(create(model, 'hurry'), (error) => {
        assert.ok(error instanceof OpenAI.RateLimitError);
        assert.deepEqual([error.status, error.code], [429, 'rate_limit_exceeded']);
        assert.equal(error.headers.get('retry-after'), '30');
        return true;
      });
      await assert.rejects(create(model, 'fail'), (error) => {
        assert.ok(error instanceof OpenAI.InternalServerError);
        assert.deepEqual([error.status, error.code, error.type], [502, 'upstream_error', 'api_error']);
        return true;
      });
      const stream = await create(model, 'break off', { stream: true });
      await assert.rejects(Array.fromAsync(stream), (error) => {
        assert.ok(error instanceof OpenAI.APIError);
        assert.equal(error.code, 'upstream_truncated');
        return true;
      });
    });

    it(`stops in the middle: ${model}`, async () => {
      const { data: stream, response } = await create(model, 'go on', { stream: true }).withResponse();
      for await (const { choices } of stream) if (choices[0]?.delta.content) break;
      const record = await until('the record', () => gateway.record(response.headers.get('x-hypergate-call-id')));
      assert.deepEqual([record.status, record.outcome], [499, 'aborted']);
    });
  }

  for (const model of [...MODELS, 'fast', 'demo/echo']) {
    const isDemo = model === 'demo/echo';
    const input = isDemo ? WORDS : 'greet me';

    it(`answers as Responses, whole and streamed: ${model}`, async () => {
      const whole = await client.responses.create({ model, input });
      assert.deepEqual([whole.output_text, whole.status], [WORDS, 'completed']);
      assert.equal(whole.usage.output_tokens, isDemo ? 4 : 7);
      const events = await Array.fromAsync(await client.responses.create({ model, input, stream: true }));
      const said = events.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta);
      assert.ok(said.length > 1, 'in more than one piece');
      assert.equal(said.join(''), WORDS);
      assert.deepEqual([events[0].type, events.at(-1).type], ['response.created', 'response.completed']);
      assert.equal(events.at(-1).response.usage.output_tokens, isDemo ? 4 : 7);
    });
  }

  for (const model of MODELS) {
    it(`runs tools as Responses, two at once, over two turns: ${model}`, async () => {
      const tools = [{ type: 'function', strict: false, ...TOOLS[0].function }];
      for (const stream of [false, true]) {
        const ask = async (input) => {
          const request = { model, input, tools };
          return stream ? client.responses.stream(request).finalResponse() : client.responses.create(request);
        };
        const input = [{ role: 'user', content: 'weather?' }];
        const { output } = await ask(input);
        const calls = output.filter(({ type }) => type === 'function_call');
        assert.deepEqual(calls.map((call) => JSON.parse(call.arguments).city), ['Oslo', 'Bern']);
        const results = calls.map(({ call_id }) => ({ type: 'function_call_output', call_id, output: 'cold' }));
        const second = await ask([...input, ...output, ...results]);
        assert.equal(second.output_text, 'Cold in Oslo, warm in Bern.');
      }
    });

    it(`throws what the SDK throws for Responses: ${model}`, async () => {
      const ask = (input, more) => client.responses.create({ model, input, ...more });
      await assert.rejects(ask('hurry'), OpenAI.RateLimitError);
      await assert.rejects(ask('fail'), OpenAI.InternalServerError);
      await assert.rejects(async () => Array.fromAsync(await ask('break off', { stream: true })), /broke off/);
      await assert.rejects(ask('greet me', { previous_response_id: 'resp_1' }), OpenAI.BadRequestError);
    });
  }

  it('embeds, ranks what is harmful, draws, speaks and completes', async () => {
    const input = ['one', 'two'];
    const plain = await client.embeddings.create({ model: 'openai/embed', input, encoding_format: 'float' });
    // Without a format the SDK asks for base64 and decodes it: made by the gateway, this provider has none.
    const packed = await client.embeddings.create({ model: 'voyage/embed', input });
    assert.equal(packed.data.length, 2);
    for (const [at, { embedding }] of packed.data.entries()) {
      assert.deepEqual([...Float32Array.from(plain.data[at].embedding)], [...embedding]);
    }
    assert.ok(packed.usage.total_tokens >= 0);
    const { results } = await client.moderations.create({ input: 'greet' });
    assert.equal(results[0].flagged, false);
    const { data } = await client.images.generate({ model: 'openai/gpt-image-1', prompt: 'draw' });
    assert.equal(data[0].b64_json, 'AAAA');
    const sound = await client.audio.speech.create({ model: 'openai/tts-1', input: 'say', voice: 'ash' });
    assert.deepEqual(Buffer.from(await sound.arrayBuffer()), SOUND);
    const prompt = { model: 'demo/echo', prompt: WORDS };
    assert.equal((await client.completions.create(prompt)).choices[0].text, WORDS);
    const chunks = await Array.fromAsync(await client.completions.create({ ...prompt, stream: true }));
    assert.equal(chunks.map(({ choices }) => choices[0].text).join(''), WORDS);
  });

  it('throws for a wrong key, a model that is not there or not allowed, and a bad request', async () => {
    const ask = (client, model, more) => client.chat.completions.create({ model, messages: say('hello'), ...more });
    const hot = { temperature: 'hot' };
    for (const [call, kind, status, code, param] of [
      [() => ask(as('hg_nobody'), 'demo/echo'), OpenAI.AuthenticationError, 401, 'invalid_api_key', null],
      [() => ask(as(gateway.narrow_key), MODELS[0]), OpenAI.PermissionDeniedError, 403, 'model_not_allowed', 'model'],
      [() => ask(client, 'nobody/nothing'), OpenAI.NotFoundError, 404, 'model_not_found', 'model'],
      [() => ask(client, 'demo/echo', hot), OpenAI.BadRequestError, 400, 'invalid_request', 'temperature'],
      [() => client.models.retrieve('nobody/nothing'), OpenAI.NotFoundError, 404, 'model_not_found', 'model'],
    ]) {
      await assert.rejects(call(), (error) => {
        assert.ok(error instanceof kind, error.stack);
        assert.deepEqual([error.status, error.code, error.param], [status, code, param]);
        return true;
      });
    }
  });
});
