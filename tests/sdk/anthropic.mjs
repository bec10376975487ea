// Anthropic's official JavaScript SDK, used as its documentation says, with the gateway's address.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { say } from '../hosts/lib/gateway.mjs';
import { RECIPE, SCHEMA, TOOLS, WORDS } from '../hosts/lib/mock.mjs';
import { until } from '../hosts/lib/wait.mjs';
import { MODELS, startGateway } from './lib/gateway.mjs';

const WEATHER = {
  name: TOOLS[0].function.name,
  description: TOOLS[0].function.description,
  input_schema: TOOLS[0].function.parameters,
};

describe('the @anthropic-ai/sdk package', () => {
  let gateway, client;

  before(async () => {
    gateway = await startGateway();
    client = as(gateway.key);
  });
  after(() => gateway?.stop());

  const as = (apiKey) => new Anthropic({ apiKey, baseURL: new URL(gateway.base_url).origin, maxRetries: 0 });
  const body = (model, words, more) => ({ model, max_tokens: 1000, messages: say(words), ...more });
  const create = (model, words, more) => client.messages.create(body(model, words, more));
  const texts = (message) => message.content.filter(({ type }) => type === 'text').map(({ text }) => text).join('');

  it('lists models, page by page, and finds one', async () => {
    const ids = [];
    for await (const { id } of client.models.list({ limit: 50 })) ids.push(id);
    for (const id of ['fast', 'demo/echo', ...MODELS]) assert.ok(ids.includes(id), id);
    const model = await client.models.retrieve('anthropic/claude-haiku-4-5');
    assert.deepEqual([model.id, model.type, model.max_input_tokens], ['anthropic/claude-haiku-4-5', 'model', 200_000]);
    await assert.rejects(client.models.retrieve('nobody/nothing'), Anthropic.NotFoundError);
  });

  it('is told where nobody counts tokens', async () => {
    const count = client.messages.countTokens({ model: 'demo/echo', messages: say('hello') });
    await assert.rejects(count, Anthropic.BadRequestError);
  });

  for (const model of [...MODELS, 'fast', 'demo/echo']) {
    const isDemo = model === 'demo/echo';
    const words = isDemo ? WORDS : 'greet me';

    it(`answers whole: ${model}`, async () => {
      const message = await create(model, words);
      assert.deepEqual([texts(message), message.stop_reason, message.role], [WORDS, 'end_turn', 'assistant']);
      assert.equal(message.usage.output_tokens, isDemo ? 4 : 7);
      assert.equal(message.usage.input_tokens, isDemo ? 4 : 11);
    });

    it(`streams: ${model}`, async () => {
      const stream = client.messages.stream(body(model, words));
      let pieces = 0;
      stream.on('text', () => (pieces += 1));
      const message = await stream.finalMessage();
      assert.deepEqual([texts(message), message.stop_reason], [WORDS, 'end_turn']);
      assert.equal(message.usage.output_tokens, isDemo ? 4 : 7);
      assert.ok(pieces > 1, 'in more than one piece');
    });
  }

  for (const model of MODELS) {
    it(`runs tools, two at once, over two turns: ${model}`, async () => {
      for (const stream of [false, true]) {
        const ask = async (messages) => {
          const request = { ...body(model, ''), messages, tools: [WEATHER] };
          return stream ? client.messages.stream(request).finalMessage() : client.messages.create(request);
        };
        const messages = say('weather?');
        const first = await ask(messages);
        const calls = first.content.filter(({ type }) => type === 'tool_use');
        assert.equal(first.stop_reason, 'tool_use');
        assert.deepEqual(calls.map(({ name, input }) => [name, input.city]), [['weather', 'Oslo'], ['weather', 'Bern']]);
        assert.equal(new Set(calls.map(({ id }) => id)).size, 2);
        const results = calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'cold' }));
        const { content } = first;
        const second = await ask([...messages, { role: 'assistant', content }, { role: 'user', content: results }]);
        assert.deepEqual([texts(second), second.stop_reason], ['Cold in Oslo, warm in Bern.', 'end_turn']);
      }
    });

    it(`answers in the shape asked for: ${model}`, async () => {
      const format = { type: 'json_schema', schema: SCHEMA.json_schema.schema };
      const message = await create(model, 'recipe', { output_config: { format } });
      assert.deepEqual(JSON.parse(texts(message)), RECIPE);
    });

    it(`throws what the SDK throws for Anthropic: ${model}`, async () => {
      await assert.rejects(create(model, 'hurry'), (error) => {
        assert.ok(error instanceof Anthropic.RateLimitError, error.stack);
        assert.deepEqual([error.status, error.error.error.type], [429, 'rate_limit_error']);
        assert.equal(error.headers.get('retry-after'), '30');
        return true;
      });
      await assert.rejects(create(model, 'fail'), (error) => {
        assert.ok(error instanceof Anthropic.InternalServerError, error.stack);
        assert.deepEqual([error.status, error.error.error.type], [502, 'api_error']);
        return true;
      });
      await assert.rejects(client.messages.stream(body(model, 'break off')).finalMessage(), (error) => {
        assert.ok(error instanceof Anthropic.APIError, error.stack);
        assert.match(error.message, /broke off/);
        return true;
      });
    });

    it(`stops in the middle: ${model}`, async () => {
      const { data: stream, response } = await client.messages
        .create(body(model, 'go on', { stream: true }))
        .withResponse();
      for await (const { type } of stream) if (type === 'content_block_delta') break;
      const record = await until('the record', () => gateway.record(response.headers.get('x-hypergate-call-id')));
      assert.deepEqual([record.status, record.outcome, record.route], [499, 'aborted', '/v1/messages']);
    });
  }

  it('gets the thought of a model that speaks something else, and can send it back', async () => {
    const message = await create('openai/gpt-5-mini', 'ponder');
    assert.deepEqual(message.content.map(({ type }) => type), ['thinking', 'text']);
    assert.equal(message.content[0].thinking, 'Two and two.');
    const messages = [...say('ponder'), { role: 'assistant', content: message.content }, ...say('greet me')];
    assert.equal(texts(await create('openai/gpt-5-mini', '', { messages })), WORDS);
  });

  it('is told what was dropped and what cannot be', async () => {
    const { response } = await client.messages
      .create(body('openai/gpt-5-mini', 'greet me', { top_k: 40 }))
      .withResponse();
    assert.match(response.headers.get('x-hypergate-dropped'), /top_k/);
    const tools = [{ type: 'web_search_20250305', name: 'web_search' }];
    await assert.rejects(create('openai/gpt-5-mini', 'greet me', { tools }), Anthropic.BadRequestError);
  });

  it('throws for a wrong key, a model that is not there or not allowed, and a bad request', async () => {
    const ask = (caller, model, more) => caller.messages.create(body(model, 'hello', more));
    for (const [call, kind, status, type] of [
      [() => ask(as('hg_nobody'), 'demo/echo'), Anthropic.AuthenticationError, 401, 'authentication_error'],
      [() => ask(as(gateway.narrow_key), MODELS[0]), Anthropic.PermissionDeniedError, 403, 'permission_error'],
      [() => ask(client, 'nobody/nothing'), Anthropic.NotFoundError, 404, 'not_found_error'],
      [() => ask(client, 'demo/echo', { temperature: 'hot' }), Anthropic.BadRequestError, 400, 'invalid_request_error'],
    ]) {
      await assert.rejects(call(), (error) => {
        assert.ok(error instanceof kind, error.stack);
        assert.deepEqual([error.status, error.error.error.type], [status, type]);
        return true;
      });
    }
  });
});
