// Google's official JavaScript SDK, used as its documentation says, with the gateway's address.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { ApiError, GoogleGenAI } from '@google/genai';

import { RECIPE, SCHEMA, TOOLS, WORDS } from '../hosts/lib/mock.mjs';
import { until } from '../hosts/lib/wait.mjs';
import { MODELS, startGateway } from './lib/gateway.mjs';

const WEATHER = {
  name: TOOLS[0].function.name,
  description: TOOLS[0].function.description,
  parametersJsonSchema: TOOLS[0].function.parameters,
};

describe('the @google/genai package', () => {
  let gateway, client;

  before(async () => {
    gateway = await startGateway();
    client = as(gateway.key);
  });
  after(() => gateway?.stop());

  const as = (apiKey) => {
    const httpOptions = { baseUrl: new URL(gateway.base_url).origin };
    return new GoogleGenAI({ apiKey, httpOptions });
  };
  const create = (model, contents, config) => client.models.generateContent({ model, contents, config });
  const stream = (model, contents, config) => client.models.generateContentStream({ model, contents, config });
  const status = (code) => (error) => {
    assert.ok(error instanceof ApiError, error.stack);
    assert.equal(error.status, code, error.message);
    return true;
  };

  it('lists models, page by page, and finds one', async () => {
    const names = [];
    for await (const { name } of await client.models.list({ config: { pageSize: 50 } })) names.push(name);
    for (const name of ['fast', 'demo/echo', ...MODELS]) assert.ok(names.includes(`models/${name}`), name);
    const model = await client.models.get({ model: 'models/gemini/gemini-2.5-flash' });
    assert.deepEqual([model.name, model.inputTokenLimit], ['models/gemini/gemini-2.5-flash', 1_048_576]);
    assert.ok(model.supportedActions.includes('countTokens'));
  });

  it('is told where nobody counts tokens', async () => {
    await assert.rejects(client.models.countTokens({ model: 'demo/echo', contents: 'hello' }), status(400));
  });

  for (const model of [...MODELS, 'fast', 'demo/echo']) {
    const isDemo = model === 'demo/echo';
    const words = isDemo ? WORDS : 'greet me';

    it(`answers whole: ${model}`, async () => {
      const answer = await create(model, words);
      assert.deepEqual([answer.text, answer.candidates[0].finishReason], [WORDS, 'STOP']);
      assert.equal(answer.usageMetadata.candidatesTokenCount, isDemo ? 4 : 7);
      assert.equal(answer.usageMetadata.promptTokenCount, isDemo ? 4 : 11);
    });

    it(`streams: ${model}`, async () => {
      const chunks = await Array.fromAsync(await stream(model, words));
      assert.equal(chunks.map(({ text }) => text ?? '').join(''), WORDS);
      const last = chunks.at(-1);
      assert.equal(last.candidates[0].finishReason, 'STOP');
      assert.equal(last.usageMetadata.candidatesTokenCount, isDemo ? 4 : 7);
      assert.ok(chunks.length > 2, 'in more than one piece');
    });
  }

  for (const model of MODELS) {
    it(`runs tools, two at once, over two turns: ${model}`, async () => {
      for (const streamed of [false, true]) {
        const ask = async (contents) => {
          const config = { tools: [{ functionDeclarations: [WEATHER] }] };
          if (!streamed) return (await create(model, contents, config)).candidates[0].content.parts;
          const chunks = await Array.fromAsync(await stream(model, contents, config));
          return chunks.flatMap(({ candidates }) => candidates?.[0].content?.parts ?? []);
        };
        const contents = [{ role: 'user', parts: [{ text: 'weather?' }] }];
        const parts = await ask(contents);
        const calls = parts.flatMap(({ functionCall }) => functionCall ?? []);
        assert.deepEqual(calls.map(({ name, args }) => [name, args.city]), [['weather', 'Oslo'], ['weather', 'Bern']]);
        const results = calls.map(({ id, name }) => ({ functionResponse: { id, name, response: { output: 'cold' } } }));
        const said = await ask([...contents, { role: 'model', parts }, { role: 'user', parts: results }]);
        assert.equal(said.map(({ text }) => text ?? '').join(''), 'Cold in Oslo, warm in Bern.');
      }
    });

    it(`answers in the shape asked for: ${model}`, async () => {
      const config = { responseMimeType: 'application/json', responseJsonSchema: SCHEMA.json_schema.schema };
      assert.deepEqual(JSON.parse((await create(model, 'recipe', config)).text), RECIPE);
    });

    it(`throws what the SDK throws for Gemini: ${model}`, async () => {
      await assert.rejects(create(model, 'hurry'), status(429));
      await assert.rejects(create(model, 'fail'), status(502));
      await assert.rejects(async () => Array.fromAsync(await stream(model, 'break off')), /broke off/);
    });
  }

  it('is on record under the route, not under the model', async () => {
    await create('anthropic/claude-haiku-4-5', 'greet me');
    const headers = { authorization: `Bearer ${gateway.admin_token}` };
    const route = '/v1beta/models/{model}:generateContent';
    await until('the record', async () => {
      const answer = await fetch(`${gateway.admin_url}/calls?limit=100`, { headers });
      return (await answer.json()).data.find((call) => call.route === route);
    });
  });

  it('throws for a wrong key, a model that is not there or not allowed, and a bad request', async () => {
    const ask = (caller, model, config) => caller.models.generateContent({ model, contents: 'hello', config });
    await assert.rejects(ask(as('hg_nobody'), 'demo/echo'), status(401));
    await assert.rejects(ask(as(gateway.narrow_key), MODELS[0]), status(403));
    await assert.rejects(ask(client, 'nobody/nothing'), status(404));
    await assert.rejects(ask(client, 'demo/echo', { temperature: 'hot' }), status(400));
  });
});
