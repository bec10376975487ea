// Providers that are asked otherwise than with a key in a header, on a real runtime. Each host runs all of it.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';

import { startClouds } from './lib/clouds.mjs';
import { SECRETS, caller, operator, say } from './lib/gateway.mjs';
import { TOOLS, WORDS, startMock } from './lib/mock.mjs';
import { until } from './lib/wait.mjs';

const PROFILE = 'arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0';

/** What a caller of Chat Completions asks, of which deployment, and where that arrives. */
const TARGETS = [
  [0, 'vertex/gemini-2.5-flash', '/v1/projects/acme-1/locations/europe-west4/publishers/google/models/gemini-2.5-flash:'],
  [0, 'vertex/claude-sonnet-4-6', '/v1/projects/acme-1/locations/europe-west4/publishers/anthropic/models/claude-sonnet-4-6:'],
  [0, 'azure/prod-chat', '/openai/deployments/prod-chat/chat/completions'],
  [0, `bedrock/${PROFILE}`, `/model/${encodeURIComponent(PROFILE)}/converse`],
  [0, 'ollama-native/llama3.2', '/api/chat'],
  [1, 'vertex/gemini-2.5-flash', '/v1/publishers/google/models/gemini-2.5-flash:'],
  [1, 'azure/prod-chat', '/openai/v1/chat/completions'],
  [1, 'bedrock/us.amazon.nova-lite-v1:0', '/model/us.amazon.nova-lite-v1%3A0/converse'],
];

export function clouds(name, start) {
  describe(`${name}: clouds`, () => {
    let clouds, mock;
    const hosts = [];
    const callers = [];

    before(async () => {
      mock = await startMock();
      clouds = await startClouds(mock);
      for (const settings of clouds.settings) {
        const host = await start({ ...SECRETS, ...settings });
        hosts.push(host);
        const op = operator(host.url);
        const { key } = await op.key(await op.tenant('demo'));
        callers.push({ ...caller(host.url, key), key, op, url: host.url });
      }
    });
    after(() => Promise.all([...hosts, clouds, mock].map((server) => server?.stop())));
    afterEach((test) => {
      if (test.passed !== false) return;
      test.diagnostic(`refused: ${clouds?.arrived.flatMap(({ path, refused }) => (refused ? `${path}: ${refused}` : []))}`);
      for (const host of hosts) test.diagnostic(`the host said: …${host.log.join('').slice(-1_000)}`);
    });

    for (const [deployment, model, path] of TARGETS) {
      const title = `${['first', 'second'][deployment]} deployment, ${model.replace(/arn:.*\//, '')}`;

      it(`lets in who proves to be it: ${title}`, async () => {
        const ann = callers[deployment];
        const from = clouds.arrived.length;
        const whole = await ann.chat(model, 'greet me');
        assert.equal(whole.status, 200, whole.text);
        assert.equal(whole.body.choices[0].message.content, WORDS);
        const wish = { stream_options: { include_usage: true } };
        const streamed = await ann.stream(model, 'greet me', wish);
        assert.deepEqual([streamed.said, streamed.finish, streamed.done], [WORDS, 'stop', true], streamed.text);
        assert.equal(streamed.usage.length, 1);
        // The mock of Ollama counts nothing.
        const counted = model.startsWith('ollama') ? [0, 0] : [11, 7];
        const records = [whole, streamed].map(({ id }) => until(`the record of ${id}`, () => ann.op.record(id)));
        for (const record of await Promise.all(records)) {
          assert.deepEqual([record.input_tokens, record.output_tokens, record.outcome], [...counted, 'ok']);
        }
        const asked = clouds.arrived.slice(from).filter((call) => !call.path.endsWith('/token'));
        assert.ok(asked.length === 2 && asked.every((call) => call.path.startsWith(path)), asked.map(({ path }) => path).join());
      });

      it(`calls tools: ${title}`, async () => {
        const { body, text } = await callers[deployment].chat(model, 'weather?', { tools: TOOLS });
        const calls = body.choices?.[0].message.tool_calls?.map((call) => JSON.parse(call.function.arguments).city);
        assert.deepEqual(calls, ['Oslo', 'Bern'], text);
        const streamed = await callers[deployment].stream(model, 'weather?', { tools: TOOLS });
        assert.deepEqual(streamed.tools.map((call) => JSON.parse(call.arguments).city), ['Oslo', 'Bern'], streamed.text);
        assert.equal(streamed.finish, 'tool_calls');
      });

      it(`says what is wrong with it: ${title}`, async () => {
        const { status, body, text } = await callers[deployment].chat(model, 'fail');
        assert.deepEqual([status, body.error.code], [502, 'upstream_error'], text);
      });
    }

    it("passes Claude's own protocol on, in its clouds", async () => {
      for (const [deployment, model, path] of [
        [0, 'vertex/claude-sonnet-4-6', 'aw'],
        [0, 'bedrock/anthropic.claude-sonnet-4-6', '/model/anthropic.claude-sonnet-4-6/invoke'],
        [1, 'bedrock/eu.anthropic.claude-sonnet-4-6-v1:0', '/model/eu.anthropic.claude-sonnet-4-6-v1%3A0/invoke'],
      ]) {
        for (const stream of [false, true]) {
          const { url, key } = callers[deployment];
          const answer = await fetch(`${url}/v1/messages`, {
            method: 'POST',
            headers: { 'x-api-key': key },
            body: JSON.stringify({ model, max_tokens: 99, messages: say('greet me'), stream }),
          });
          const text = await answer.text();
          assert.equal(answer.status, 200, text);
          assert.ok(text.includes(stream ? 'event: message_stop' : WORDS), text);
          assert.ok(clouds.arrived.at(-1).path.includes(path), clouds.arrived.at(-1).path);
        }
      }
    });

    it("answers callers of Messages in Ollama's own protocol", async () => {
      const { url, key } = callers[0];
      const body = { model: 'ollama/llama3.2', max_tokens: 99, messages: say('greet me'), stream: true };
      const answer = await fetch(`${url}/v1/messages`, { method: 'POST', headers: { 'x-api-key': key }, body: JSON.stringify(body) });
      const text = await answer.text();
      const said = [...text.matchAll(/"text_delta","text":"([^"]*)"/g)].map(([, piece]) => piece).join('');
      assert.deepEqual([answer.status, said, clouds.arrived.at(-1).path], [200, WORDS, '/api/chat'], text);
    });

    it('embeds by a deployment', async () => {
      for (const [{ url, key }, path] of [[callers[0], '/openai/deployments/vectors/embeddings'], [callers[1], '/openai/v1/embeddings']]) {
        const answer = await fetch(`${url}/v1/embeddings`, {
          method: 'POST',
          headers: { authorization: `Bearer ${key}` },
          body: JSON.stringify({ model: 'azure/vectors', input: ['a', 'b'] }),
        });
        const text = await answer.text();
        assert.equal(answer.status, 200, text);
        assert.deepEqual([JSON.parse(text).data.length, clouds.arrived.at(-1).path], [2, path]);
      }
    });

    it('asks for one token for all of its calls', () => {
      assert.deepEqual(clouds.tokens, { google: 1, entra: 1 });
      assert.deepEqual(clouds.arrived.filter(({ refused }) => refused).map(({ path, refused }) => `${path} ${refused}`), []);
    });

    // Last: what was asked above is asked again, changed, by somebody without the keys.
    it('would have noticed a proof that is none', async () => {
      const again = async ({ path, query, method, headers, body }, change) => {
        const { connection, 'content-length': _, 'transfer-encoding': __, ...kept } = { ...headers, ...change.headers };
        const asked = { method, headers: kept, body: change.body ?? body };
        return (await fetch(clouds.url + (change.path ?? path) + query, asked)).status;
      };
      const last = (what) => clouds.arrived.findLast(({ path, refused }) => what.test(path) && !refused);
      const signed = clouds.arrived.find(({ headers }) => headers.authorization?.startsWith('AWS4-'));
      const assertion = last(/^\/token$/);
      const [head, claims, signature] = assertion.form.assertion.split('.');
      const forged = Buffer.from(String(Buffer.from(claims, 'base64url')).replace('gate@', 'evil@')).toString('base64url');
      const form = (assertion_) => String(new URLSearchParams({ ...assertion.form, assertion: assertion_ }));
      for (const [call, change, status] of [
        [signed, {}, 200],
        [signed, { body: `${signed.body} ` }, 401],
        [signed, { path: signed.path.replace('nova-lite', 'nova-pro') }, 401],
        [signed, { headers: { 'x-amz-date': signed.headers['x-amz-date'].replace(/\dZ$/, (end) => `${9 - end[0]}Z`) } }, 401],
        [assertion, { body: form([head, forged, signature].join('.')) }, 401],
        [assertion, { body: form([head, claims, 'A'.repeat(342)].join('.')) }, 401],
        [last(/oauth2/), { body: String(last(/oauth2/).body).replace('s3cret', 'secret') }, 401],
        [last(/publishers\/anthropic/), { headers: { authorization: 'Bearer ya29.0' } }, 401],
        [last(/deployments/), { headers: { 'api-key': 'other' } }, 401],
      ]) {
        assert.equal(await again(call, change), status, `${call.path} ${JSON.stringify(change)}`);
      }
    });
  });
}
