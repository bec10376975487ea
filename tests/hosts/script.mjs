// What a deployment must do, shown from outside on a real runtime. Each host runs all of it.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { SECRETS, caller, form, operator, say } from './lib/gateway.mjs';
import { LONG, RECIPE, SCHEMA, SOUND, TOOLS, WORDS, startMock, startUpstream } from './lib/mock.mjs';
import { isSigned, startReceiver } from './lib/receiver.mjs';
import { until } from './lib/wait.mjs';

/** One model of each protocol. The prices of the first three are known. */
const MODELS = ['openai/gpt-5-mini', 'anthropic/claude-haiku-4-5', 'gemini/gemini-2.5-flash'];
const ECHO = 'demo/echo';
const ROUTE = '/v1/chat/completions';
const MINUTE_MS = 60_000;

const LIMITS = {
  MAX_BODY_BYTES: '65536',
  // Short enough to wait for, long enough for a busy machine.
  FIRST_BYTE_TIMEOUT_MS: '3000',
  ANSWER_TIMEOUT_MS: '3000',
  IDLE_TIMEOUT_MS: '3000',
  SESSION_IDLE_MS: '4000',
  SESSION_MS: '8000',
};

export function script(name, start) {
  describe(name, () => {
    let host, mock, upstream, receiver;
    let op, tenant, ann;
    const began_ms = Date.now();
    /** Every model call this script made: what is in the records at the end must be these. */
    const made = [];

    const as = (key) => caller(host.url, key, (call) => made.push(call));
    const newcomer = async (settings) => as((await op.key(tenant, settings)).key);
    const recorded = (id) => until(`the record of ${id}`, () => op.record(id));
    /** Lets this minute's tick happen again, so that the test need not wait for the next. */
    const rewind = () => host.sql(`UPDATE schedule SET claimed_ms = 0 WHERE name = 'tick'`);

    before(async () => {
      [mock, upstream, receiver] = await Promise.all([startMock(), startUpstream(), startReceiver()]);
      host = await start({
        ...SECRETS,
        ...LIMITS,
        ...mock.settings,
        ...upstream.settings,
        ALLOW_LOCAL_RECEIVERS: 'true',
        RECEIVER_HOST: receiver.url,
        RELEASE: 'test-release',
      });
      op = operator(host.url);
      // Before anything else: on Spin this is also what makes the tables.
      tenant = await op.tenant('demo');
      ann = as((await op.key(tenant)).key);
    });
    after(() => Promise.all([host, mock, upstream, receiver].map((server) => server?.stop())));
    afterEach((test) => {
      if (test.passed === false && host) test.diagnostic(`the host said: …${host.log.join('').slice(-2_000)}`);
    });

    // --- the watch begins: what follows takes longer than the minute the alert needs to resolve ---

    const watched = {};
    /** Not one of the calls that were moved into the past. */
    const isTimely = ({ tenant_id }) => tenant_id !== watched.alert?.id;

    it('fires an alert once and tells it until the receiver listens', async () => {
      const alert = (watched.alert = await op.tenant('alerted'));
      const { id, secret } = await op.receiver({ url: `${receiver.url}/hook`, tenant_id: alert.id });
      await op.rule('error-share', { threshold: 0.5, min_count: 3, window_minutes: 1, for_minutes: 0 });

      // A minute of errors, then five good ones, just before now; the sixth good one, which resolves the
      // alert, is not complete yet. The clock of a runtime cannot be set, so the calls are made now and
      // their records moved into the past, before any tick has seen them.
      const bob = caller(host.url, (await op.key(alert)).key);
      const bad = await Promise.all(Array.from({ length: 3 }, () => bob.chat('demo/fail', 'fail')));
      const good = await Promise.all(Array.from({ length: 6 }, () => bob.chat(ECHO, 'hello')));
      const statuses = [...bad, ...good].map(({ status }) => status);
      assert.deepEqual(statuses, [502, 502, 502, 200, 200, 200, 200, 200, 200]);
      await until('nine records', async () => (await op.calls({ tenant: alert.id })).length === 9);
      // A minute is looked at half a minute after its end. Away from that edge, so that all of this sees
      // the same newest minute.
      await until('a quiet part of the minute', () => (Date.now() - 30_000) % MINUTE_MS < 45_000, MINUTE_MS);
      const newest_ms = minute(Date.now() - 30_000) - MINUTE_MS;
      const move = async ({ id }, minute_ms) => {
        await host.sql('UPDATE calls SET started_ms = ? WHERE id = ?', minute_ms + 1_000, id);
        await host.sql(`INSERT OR IGNORE INTO dirty_buckets (grain, bucket_ms) VALUES ('minute', ?)`, minute_ms);
      };
      for (const call of bad) await move(call, newest_ms - 5 * MINUTE_MS);
      for (const [at, call] of good.entries()) await move(call, newest_ms + (at - 4) * MINUTE_MS);
      // As if the last tick had been seven minutes ago.
      const stood_ms = newest_ms - 6 * MINUTE_MS;
      await host.sql(`INSERT INTO evaluations (rule_id, minute_ms) VALUES ('error-share', ?)`, stood_ms);

      receiver.refuse(2);
      const ticks = await Promise.all([op.tick(), op.tick()]);
      const reports = ticks.map(({ body }) => body);
      assert.deepEqual(reports.map(({ did }) => did).sort(), ['nothing', 'work']);
      const work = reports.find(({ did }) => did === 'work');
      assert.deepEqual([work.fired, work.delivered, work.undelivered, work.failed_steps], [1, 0, 1, []]);
      const notice = await only(op, alert);
      assert.deepEqual([notice.status, notice.attempts], ['pending', 1]);

      // The next attempts are due in five seconds and in five minutes: not waited for, but brought forward.
      for (const [attempts, status] of [[2, 'pending'], [3, 'delivered'], [3, 'delivered']]) {
        await host.sql(`UPDATE outbox SET next_ms = 0 WHERE status = 'pending'`);
        await host.sql('UPDATE receivers SET wait_until_ms = 0');
        await rewind();
        await host.strike();
        const { receiver_id, kind, ...notice } = await only(op, alert);
        assert.deepEqual([receiver_id, kind, notice.status, notice.attempts], [id, 'firing', status, attempts]);
      }
      assert.deepEqual(receiver.heard.map(({ status }) => status), [500, 500, 200]);
      assert.equal(new Set(receiver.heard.map(({ id }) => id)).size, 1);
      for (const attempt of receiver.heard) {
        assert.ok(isSigned(attempt, secret));
        assert.equal(isSigned({ ...attempt, body: `${attempt.body} ` }, secret), false);
      }
      const { type, data } = receiver.heard[2].event;
      assert.deepEqual([type, data.rule_id], ['alert.firing', 'error-share']);
      assert.deepEqual(data.labels, { route: ROUTE, tenant_id: alert.id });
      Object.assign(watched, { secret, newest_ms });
    });

    it('sends a test notice at once', async () => {
      const { id, secret } = await op.receiver({ url: `${receiver.url}/test`, name: 'trial', tenant_id: tenant.id });
      receiver.refuse(0);
      const heard = receiver.heard.length;
      const { status, id: notice } = await op.admin('POST', `/receivers/${id}/test`);
      assert.equal(status, 'delivered');
      const [event] = receiver.heard.slice(heard);
      assert.deepEqual([event.id, event.event.type, isSigned(event, secret)], [notice, 'receiver.test', true]);
      const { data } = await op.admin('GET', '/receivers');
      const shown = data.find((receiver) => receiver.id === id);
      assert.equal(shown.host, '127.0.0.1');
      assert.ok(!JSON.stringify(data).includes(secret) && !JSON.stringify(data).includes('/test'));
      await op.admin('DELETE', `/receivers/${id}`);
      assert.equal((await op.refused('POST', `/receivers/${id}/test`)).status, 404);
    });

    // --- who may ---

    it('says that it is well, and when it last ticked', async () => {
      const answer = await fetch(`${host.url}/healthz`);
      const { status, release, last_tick_ms } = await answer.json();
      assert.deepEqual([answer.status, status, release], [200, 'ok', 'test-release']);
      assert.ok(last_tick_ms >= minute(began_ms));
    });

    it('lists the models a key may use', async () => {
      await op.alias(tenant, 'fast', ['openai/gpt-5-mini']);
      const list = async (key) => {
        const answer = await fetch(`${host.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
        assert.equal(answer.status, 200);
        return (await answer.json()).data.map(({ id }) => id);
      };
      const all = await list((await op.key(tenant)).key);
      for (const model of ['fast', ECHO, ...MODELS]) assert.ok(all.includes(model), model);
      assert.deepEqual(await list((await op.key(tenant, { models: ['demo/*'] })).key), ['demo/echo', 'demo/fail']);
    });

    it('lists them in the words of the protocol', async () => {
      const { key } = await op.key(tenant, { models: ['demo/*'] });
      const list = async (path, header) => (await fetch(`${host.url}${path}`, { headers: { [header]: key } })).json();
      const { data, has_more } = await list('/v1/models?limit=1', 'x-api-key');
      assert.deepEqual([data[0].type, data[0].id, has_more], ['model', 'demo/echo', true]);
      const { models, nextPageToken } = await list('/v1beta/models?pageSize=1', 'x-goog-api-key');
      assert.deepEqual([models[0].name, nextPageToken], ['models/demo/echo', '1']);
      assert.equal((await list('/v1beta/models/demo/echo', 'x-goog-api-key')).name, 'models/demo/echo');
    });

    it('refuses who may not', async () => {
      refused(await as('hg_nobody').chat(ECHO, 'hello'), 401, 'invalid_api_key');
      refused(await as(SECRETS.ADMIN_TOKEN).chat(ECHO, 'hello'), 401, 'invalid_api_key');

      const limited = await newcomer({ models: ['demo/*', 'fast'] });
      assert.equal((await limited.chat(ECHO, 'hello')).status, 200);
      assert.equal((await limited.chat('fast', 'greet')).status, 200);
      refused(await limited.chat('openai/gpt-5-mini', 'greet'), 403, 'model_not_allowed', 'model');

      const { id, key } = await op.key(tenant);
      const former = as(key);
      assert.equal((await former.chat(ECHO, 'hello')).status, 200);
      await op.admin('DELETE', `/keys/${id}`);
      refused(await former.chat(ECHO, 'hello'), 401, 'invalid_api_key');

      const expires_ms = Date.now() + 3_000;
      const guest = await newcomer({ expires_at: new Date(expires_ms).toISOString() });
      assert.equal((await guest.chat(ECHO, 'hello')).status, 200);
      await sleep(expires_ms - Date.now() + 50);
      refused(await guest.chat(ECHO, 'hello'), 401, 'expired_api_key');

      const closed = await op.tenant('closed');
      const patron = as((await op.key(closed)).key);
      assert.equal((await patron.chat(ECHO, 'hello')).status, 200);
      await op.admin('DELETE', `/tenants/${closed.id}`);
      refused(await patron.chat(ECHO, 'hello'), 401, 'invalid_api_key');

      for (const token of ['wrong', SECRETS.TICK_TOKEN]) {
        assert.equal((await op.refused('GET', '/tenants', undefined, token)).status, 401);
      }
      assert.equal((await op.tick(SECRETS.ADMIN_TOKEN)).status, 401);
      assert.equal((await fetch(`${host.url}/metrics`)).status, 401);
    });

    it('refuses what cannot be read', async () => {
      for (const [body, param] of [
        ['', undefined],
        ['{"model":', undefined],
        ['[]', undefined],
        ['{"messages":[]}', 'model'],
        [`{"model":7,"messages":[]}`, 'model'],
        [`{"model":"${ECHO}"}`, 'messages'],
        [`{"model":"${ECHO}","messages":"hello"}`, 'messages'],
        [`{"model":"${ECHO}","messages":[7]}`, 'messages[0]'],
        [`{"model":"${ECHO}","messages":[],"stream":"yes"}`, 'stream'],
        [`{"model":"${ECHO}","messages":[{"role":"user","content":"hi"}],"temperature":"hot"}`, 'temperature'],
      ]) {
        refused(await ann.send(body), 400, 'invalid_request', param ?? null);
      }
      refused(await ann.chat('nobody/gpt-5', 'hello'), 404, 'model_not_found', 'model');
      refused(await ann.chat('slow', 'hello'), 404, 'model_not_found', 'model');
      refused(await ann.chat('mistral/large', 'hello'), 404, 'provider_not_configured');
      refused(await ann.chat(ECHO, 'x'.repeat(70_000)), 413, 'body_too_large');
      // In chunks, without saying how much there will be.
      refused(await ann.send(new Blob(['{"model":"', 'x'.repeat(70_000)]).stream()), 413, 'body_too_large');
      assert.equal((await ann.chat(ECHO, 'x'.repeat(60_000))).status, 200);
    });

    it('knows its routes', async () => {
      for (const [method, path, status, code] of [
        ['GET', ROUTE, 405, 'method_not_allowed'],
        ['POST', '/v1/models', 405, 'method_not_allowed'],
        ['POST', '/v1/nothing', 404, 'not_found'],
        ['GET', '/admin/v1/nothing', 404, 'not_found'],
        ['POST', '/admin/v1/calls', 405, 'method_not_allowed'],
        ['GET', '/internal/tick', 405, 'method_not_allowed'],
      ]) {
        const headers = { authorization: `Bearer ${SECRETS.ADMIN_TOKEN}` };
        const answer = await fetch(host.url + path, { method, headers });
        const { error } = await answer.json();
        assert.deepEqual([answer.status, error.code], [status, code], `${method} ${path}`);
        assert.ok(error.message.length > 10);
      }
    });

    it('names the field an operator got wrong', async () => {
      for (const [method, path, body, param] of [
        ['POST', '/tenants', {}, 'name'],
        ['POST', '/tenants', { name: 'demo' }, 'name'],
        ['POST', '/tenants', { name: 'other', payload_mode: 'some' }, 'payload_mode'],
        ['POST', '/tenants', { nmae: 'other', name: 'other' }, 'nmae'],
        ['POST', `/tenants/${tenant.id}/keys`, { name: 'old', expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
        ['PUT', `/tenants/${tenant.id}/aliases/x`, { targets: ['nobody/gpt'] }, 'targets[0]'],
        ['PUT', '/rules/error-share', { threshold: 7 }, 'threshold'],
        ['POST', '/receivers', { name: 'x', kind: 'webhook', url: 'https://169.254.169.254/' }, 'url'],
        ['GET', '/calls?limit=0', undefined, 'limit'],
      ]) {
        const answer = await op.refused(method, path, body);
        assert.deepEqual([answer.status, answer.body.error.param], [400, param], `${method} ${path}`);
      }
    });

    // --- answers ---

    for (const model of MODELS) {
      const provider = model.split('/')[0];

      it(`answers whole: ${provider}`, async () => {
        const answer = await ann.chat(model, 'greet me');
        assert.equal(answer.status, 200, answer.text);
        const { choices: [choice], usage, object } = answer.body;
        assert.deepEqual([object, choice.message.role], ['chat.completion', 'assistant']);
        assert.equal(choice.message.content, WORDS);
        assert.deepEqual([choice.finish_reason, usage.prompt_tokens, usage.completion_tokens], ['stop', 11, 7]);
        assert.equal(answer.headers.get('x-hypergate-provider'), provider);
        assert.equal(answer.headers.get('x-hypergate-attempts'), '1');
      });

      it(`answers streamed, with usage only if asked: ${provider}`, async () => {
        const plain = await ann.stream(model, 'greet me');
        assert.deepEqual([plain.status, plain.said, plain.finish, plain.done], [200, WORDS, 'stop', true]);
        assert.deepEqual(plain.usage, []);
        assert.ok(plain.chunks.every((chunk) => chunk.choices.length === 1), plain.text);

        const counted = await ann.stream(model, 'greet me', { stream_options: { include_usage: true } });
        assert.deepEqual([counted.said, counted.done, counted.usage.length], [WORDS, true, 1]);
        const last = counted.chunks.at(-1);
        assert.deepEqual([last.choices, last.usage.prompt_tokens, last.usage.completion_tokens], [[], 11, 7]);
      });

      it(`calls tools, two at once, and takes their results: ${provider}`, async () => {
        const calls = [
          ['weather', { city: 'Oslo' }],
          ['weather', { city: 'Bern' }],
        ];
        const read = ({ name, arguments: text }) => [name, JSON.parse(text)];
        const whole = await ann.chat(model, 'weather?', { tools: TOOLS });
        const [{ message, finish_reason }] = whole.body.choices;
        assert.deepEqual(message.tool_calls.map((call) => read(call.function)), calls);
        assert.equal(finish_reason, 'tool_calls');

        const streamed = await ann.stream(model, 'weather?', { tools: TOOLS });
        assert.deepEqual(streamed.tools.map(read), calls);
        assert.deepEqual([streamed.finish, streamed.done], ['tool_calls', true]);
        assert.equal(new Set(streamed.tools.map(({ id }) => id)).size, 2);

        const results = message.tool_calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'cold' }));
        const messages = [...say('weather?'), message, ...results];
        const second = await ann.send(JSON.stringify({ model, messages, tools: TOOLS }));
        assert.equal(second.status, 200, second.text);
        assert.equal(second.body.choices[0].message.content, 'Cold in Oslo, warm in Bern.');
      });

      it(`answers in the shape asked for: ${provider}`, async () => {
        const whole = await ann.chat(model, 'recipe', { response_format: SCHEMA });
        assert.deepEqual(JSON.parse(whole.body.choices[0].message.content), RECIPE);
        const streamed = await ann.stream(model, 'recipe', { response_format: SCHEMA });
        assert.deepEqual(JSON.parse(streamed.said), RECIPE);
      });

      it(`keeps thoughts apart from the answer: ${provider}`, async () => {
        const { body } = await ann.chat(model, 'ponder');
        const { content, reasoning_content } = body.choices[0].message;
        assert.deepEqual([content, reasoning_content], ['Four.', 'Two and two.']);
        const { said, chunks } = await ann.stream(model, 'ponder');
        const thoughts = chunks.flatMap(({ choices }) => choices).map(({ delta }) => delta.reasoning_content ?? '');
        assert.deepEqual([said, thoughts.join('')], ['Four.', 'Two and two.']);
      });

      it(`passes on how long to wait: ${provider}`, async () => {
        for (const answer of await bothWays((stream) => ann.chat(model, `hurry ${provider}`, { stream }))) {
          refused(answer, 429, 'rate_limit_exceeded');
          assert.equal(answer.headers.get('retry-after'), '30');
        }
        // Longer than a caller should be kept: not tried again.
        assert.equal(mock.asked(`hurry ${provider}`).length, 2);
      });

      it(`says what is wrong with a provider that fails: ${provider}`, async () => {
        for (const answer of await bothWays((stream) => ann.chat(model, 'fail', { stream }))) {
          refused(answer, 502, 'upstream_error');
          assert.match(answer.body.error.message, /Something broke\./);
        }
      });

      it(`ends a stream that breaks off with an error: ${provider}`, async () => {
        const answer = await ann.stream(model, 'break off');
        broken(answer, 'upstream_truncated');
        assert.ok(answer.said.length > 0 && LONG.startsWith(answer.said), answer.said);
      });
    }

    it('echoes', async () => {
      const whole = await ann.chat(ECHO, 'one two three');
      assert.equal(whole.body.choices[0].message.content, 'one two three');
      const streamed = await ann.stream(ECHO, 'one two three', { stream_options: { include_usage: true } });
      assert.deepEqual([streamed.said, streamed.done], ['one two three', true]);
      assert.equal(streamed.usage[0].usage.completion_tokens, 3);
    });

    it('answers callers of every protocol, streamed', async () => {
      const visitors = await op.tenant('visitors');
      const { key } = await op.key(visitors);
      const parts = [{ text: 'hello' }];
      const tokens = { max_tokens: 9 };
      const calls = [
        ['/v1/responses', 'authorization', { model: ECHO, input: 'hello', stream: true }],
        ['/v1/messages', 'x-api-key', { model: ECHO, messages: say('hello'), stream: true, ...tokens }],
        [`/v1beta/models/${ECHO}:streamGenerateContent?alt=sse`, 'x-goog-api-key', { contents: [{ parts }] }],
        [`/v1/models/${ECHO}:streamGenerateContent`, 'x-goog-api-key', { contents: [{ parts }] }, 'application/json'],
        ['/v2/chat', 'authorization', { model: ECHO, messages: say('hello'), stream: true }],
        [
          `/model/${encodeURIComponent(ECHO)}/converse-stream`,
          'authorization',
          { messages: [{ role: 'user', content: parts }] },
          'application/vnd.amazon.eventstream',
        ],
      ];
      for (const [path, header, body, type = 'text/event-stream'] of calls) {
        const headers = { [header]: header === 'authorization' ? `Bearer ${key}` : key };
        const answer = await fetch(host.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
        made.push({ id: answer.headers.get('x-hypergate-call-id'), status: answer.status });
        assert.equal(answer.status, 200, path);
        assert.ok(answer.headers.get('content-type').startsWith(type), path);
        assert.match(await answer.text(), /"hello"/, path);
      }
      await until('their records', async () => (await op.calls({ tenant: visitors.id })).length === calls.length);
      for (const call of await op.calls({ tenant: visitors.id })) {
        assert.deepEqual([call.outcome, call.stream, call.output_tokens], ['ok', true, 1], call.route);
      }
    });

    it('serves what there is beside chat', async () => {
      const artists = await op.tenant('artists');
      const { key } = await op.key(artists);
      const ask = async (path, body) => {
        const headers = { authorization: `Bearer ${key}` };
        const answer = await fetch(host.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
        made.push({ id: answer.headers.get('x-hypergate-call-id'), status: answer.status });
        assert.equal(answer.status, 200, path);
        return answer;
      };
      const question = { model: 'cohere/rerank-v3.5', query: 'greet', documents: ['a', 'b'] };
      for (const [path, body, read, expected] of [
        ['/v1/embeddings', { model: 'openai/text-embedding-3-small', input: ['a', 'b'] }, (a) => a.data.length, 2],
        ['/v2/rerank', question, (a) => a.results[0].index, 1],
        ['/v1/rerank', { ...question, return_documents: true }, (a) => a.results[0].document.text, 'b'],
        ['/v1/moderations', { input: 'greet' }, (a) => a.results[0].flagged, false],
        ['/v1/images/generations', { model: 'openai/gpt-image-1', prompt: 'draw' }, (a) => a.data[0].b64_json, 'AAAA'],
        ['/v1/completions', { model: ECHO, prompt: 'hello' }, (a) => a.choices[0].text, 'hello'],
      ]) {
        const answer = await ask(path, body);
        assert.equal(answer.headers.get('content-type'), 'application/json', path);
        assert.deepEqual(read(await answer.json()), expected, path);
      }

      const whole = await ask('/v1/audio/speech', { model: 'openai/tts-1', input: 'say', voice: 'ash' });
      assert.deepEqual(Buffer.from(await whole.arrayBuffer()), SOUND);
      // Not all at once: the first half is here before the provider has said the second.
      const sound = await ask('/v1/audio/speech', { model: 'groq/sound', input: 'say', voice: 'ash' });
      assert.equal(sound.headers.get('content-type'), 'audio/mpeg');
      const came = [];
      for await (const chunk of sound.body) came.push([Date.now(), chunk]);
      assert.deepEqual(Buffer.concat(came.map(([, chunk]) => chunk)), Buffer.concat([SOUND, SOUND]));
      assert.ok(came.at(-1)[0] - came[0][0] > 150);
      // Half of it is not passed off as all of it.
      const half = await ask('/v1/audio/speech', { model: 'groq/half-a-sound', input: 'say', voice: 'ash' });
      await assert.rejects(half.arrayBuffer());

      await until('their records', async () => (await op.calls({ tenant: artists.id })).length === 9);
      const seen = (await op.calls({ tenant: artists.id })).map(({ operation, outcome }) => `${operation} ${outcome}`);
      assert.deepEqual(seen.sort(), [
        'embeddings ok',
        'image_generation ok',
        'moderation ok',
        'rerank ok',
        'rerank ok',
        'speech error',
        'speech ok',
        'speech ok',
        'text_completion ok',
      ]);
    });

    it('hands on what it does not know', async () => {
      // Numbers that do not survive a parser, a field nobody knows, and odd spacing.
      const body = `{ "x_new": {"deep": [1.50, null]},"seed":12345678901234567890,\n "model":"groq/html","messages":[] }`;
      await ann.send(body);
      const sent = upstream.arrived.at(-1);
      assert.deepEqual([sent.body, sent.headers.authorization], [body.replace('groq/html', 'html'), 'Bearer sk-groq']);
      const answer = await ann.chat('openai/gpt-5-mini', 'greet unknown', { x_new: 'field' });
      assert.equal(answer.status, 200);
      const [{ body: arrived }] = mock.asked('greet unknown');
      assert.deepEqual([arrived.x_new, arrived.model], ['field', 'gpt-5-mini']);
    });

    it('continues the trace of its caller', async () => {
      const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
      const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01` };
      for (const model of MODELS) {
        const words = `greet traced ${model}`;
        await ann.chat(model, words, {}, { headers });
        const [{ headers: arrived }] = mock.asked(words);
        const [version, upstream, span] = arrived.traceparent.split('-');
        assert.deepEqual([version, upstream], ['00', trace]);
        assert.notEqual(span, '00f067aa0ba902b7');
      }
      const calls = await until('the records', async () => {
        const calls = await op.calls({ trace });
        return calls.length === MODELS.length && calls;
      });
      assert.deepEqual(calls.map(({ trace_id }) => trace_id), MODELS.map(() => trace));
    });

    // --- when a provider has a bad day ---

    it('falls back to the next target', async () => {
      await op.alias(tenant, 'steady', ['groq/html', 'openai/gpt-5-mini']);
      const whole = await ann.chat('steady', 'greet');
      assert.equal(whole.body.choices[0].message.content, WORDS);
      await op.alias(tenant, 'steadier', ['demo/fail', 'groq/silent', 'anthropic/claude-haiku-4-5']);
      const streamed = await ann.stream('steadier', 'greet');
      assert.deepEqual([streamed.said, streamed.done], [WORDS, true]);

      const long = ['demo/fail upstream_error', 'groq/silent upstream_timeout', 'anthropic/claude-haiku-4-5 200'];
      for (const [answer, attempts, provider] of [
        [whole, ['groq/html upstream_garbled', 'openai/gpt-5-mini 200'], 'openai'],
        [streamed, long, 'anthropic'],
      ]) {
        assert.equal(answer.headers.get('x-hypergate-attempts'), String(attempts.length));
        assert.equal(answer.headers.get('x-hypergate-provider'), provider);
        const record = await recorded(answer.id);
        const tried = ({ provider, model, error_type, status }) => `${provider}/${model} ${error_type ?? status}`;
        assert.deepEqual(record.attempts.map(tried), attempts);
        assert.deepEqual([record.status, record.outcome, record.provider_name], [200, 'ok', provider]);
        assert.ok(record.cost_microusd > 0);
      }
    });

    it('waits as long as a provider asks, if that is not long', async () => {
      const before_ms = Date.now();
      const answer = await ann.chat('openai/gpt-5-mini', 'patience');
      assert.equal(answer.body.choices[0].message.content, WORDS);
      assert.ok(Date.now() - before_ms >= 1_000);
      const { attempts } = await recorded(answer.id);
      assert.deepEqual(attempts.map(({ status }) => status), [429, 200]);
    });

    it('has an error for every answer that is none', async () => {
      const cases = [
        ['groq/html', false, 502, 'upstream_garbled', 2],
        ['groq/html', true, 502, 'upstream_garbled', 2],
        ['groq/blank', false, 502, 'upstream_garbled', 2],
        ['groq/blank', true, 502, 'upstream_truncated', 1],
        ['groq/hangs-up', false, 502, 'upstream_unreachable', 2],
        ['groq/hangs-up', true, 502, 'upstream_unreachable', 2],
        ['groq/silent', false, 504, 'upstream_timeout', 1],
        ['groq/silent', true, 504, 'upstream_timeout', 1],
      ];
      await Promise.all(cases.map(async ([model, stream, status, code, attempts]) => {
        const answer = await ann.chat(model, 'hello', { stream });
        refused(answer, status, code);
        const { outcome, provider_name, ...record } = await recorded(answer.id);
        const seen = [outcome, provider_name, record.attempts.length];
        assert.deepEqual(seen, ['error', 'groq', attempts], `${model} ${stream}`);
      }));
    });

    it('ends a stream that fell silent or was cut in a chunk with an error', async () => {
      const cases = [['groq/half', 'upstream_truncated'], ['groq/stalls', 'upstream_timeout']];
      await Promise.all(cases.map(async ([model, code]) => {
        const answer = await ann.stream(model, 'hello');
        broken(answer, code);
        assert.equal(answer.said, 'one');
        const record = await recorded(answer.id);
        assert.deepEqual([record.status, record.outcome, record.error_type], [200, 'error', code]);
      }));
      await until('the silent provider to be left', () => upstream.closed.includes('stalls'));
    });

    it('leaves the provider when the caller leaves', async () => {
      await Promise.all(['groq/talks', ...MODELS, ECHO].map(async (model) => {
        const record = await recorded(await ann.leave(model, model === ECHO ? LONG : 'go on'));
        assert.deepEqual([record.status, record.outcome, record.error_type], [499, 'aborted', 'caller_hung_up'], model);
        assert.ok(record.time_to_first_chunk_ms >= 0);
      }));
      await until('the provider to notice', () => upstream.closed.includes('talks'));
    });

    it('records a caller who leaves before the answer', async (t) => {
      if (!host.noticesEarlyHangUps) return t.skip('this runtime tells of a hang-up only while an answer is sent');
      await ann.leaveEarly('groq/waits');
      const gone = await until('the record', async () => (await op.calls({ status: 499, model: 'waits' }))[0]);
      assert.deepEqual([gone.outcome, gone.error_type], ['aborted', 'caller_hung_up']);
      assert.ok(gone.duration_ms < 2500, 'it is recorded when the caller leaves, not when the provider gives up');
      await until('the provider to be left', () => upstream.closed.includes('waits'));
      made.push({ id: gone.id });
    });

    // --- forms, files, sockets ---

    const TAPE = 'sound-'.repeat(100_000);
    const LISTEN = '/v1/audio/transcriptions';

    it('sends a form on while it comes', async () => {
      const whole = form({ model: 'groq/whisper-large-v3', file: TAPE });
      for (const headers of [{}, { 'content-length': whole.length }]) {
        const { sending, answer } = ann.begin(LISTEN, headers);
        const known = upstream.forms.length;
        sending.write(whole.slice(0, 300_000));
        const arrived = await until('the provider to see the beginning', () => upstream.forms[known]);
        await until('some of the file', () => arrived.body.length > 100_000);
        assert.equal(arrived.state, 'open');
        sending.end(whole.slice(300_000));
        const { status, body, id } = await answer;
        assert.deepEqual([status, body.text], [200, 'Hello.']);
        assert.ok(arrived.body === whole.replace('groq/whisper', 'whisper'), 'byte for byte but for the model');
        assert.equal(arrived.headers.authorization, 'Bearer sk-groq');
        if (headers['content-length']) assert.equal(arrived.headers['content-length'], String(arrived.body.length));
        const record = await recorded(id);
        assert.deepEqual([record.operation, record.outcome, record.stream], ['transcription', 'ok', false]);
      }
    });

    it('takes a form with its file first, and streams what it becomes', async () => {
      const { sending, answer } = ann.begin(LISTEN);
      sending.end(form({ file: 'sound', model: 'groq/whisper-large-v3', note: 'streamed' }));
      const { status, headers, text, id } = await answer;
      assert.deepEqual([status, headers['content-type']], [200, 'text/event-stream; charset=utf-8'], text);
      assert.ok(text.includes('transcript.text.delta') && text.includes('transcript.text.done'));
      const record = await recorded(id);
      assert.deepEqual([record.stream, record.input_tokens, record.output_tokens], [true, 9, 3]);
    });

    it('ends a form its provider does not want, or its caller does not finish', async () => {
      const whole = form({ model: 'groq/whisper-large-v3', file: `too-large${TAPE}` });
      const early = ann.begin(LISTEN, { 'content-length': whole.length });
      early.sending.write(whole.slice(0, 300_000));
      const { status, body } = await early.answer;
      assert.deepEqual([status, body.error.code], [400, 'invalid_request_error'], JSON.stringify(body));
      assert.match(body.error.message, /Maximum content size/);
      early.sending.destroy();

      const silent = ann.begin(LISTEN);
      silent.sending.write(form({ model: 'groq/whisper-large-v3', file: TAPE }).slice(0, 300_000));
      refused(await silent.answer, 408, 'body_timeout');
      silent.sending.destroy();

      const second = ann.begin(LISTEN);
      const twice = form({ model: 'groq/whisper-large-v3', file: TAPE }).replace(/--\r\n$/, '\r\n') + form({ model: 'gpt-5' }).slice(7);
      second.sending.end(twice);
      refused(await second.answer, 400, 'invalid_request', 'model');
    });

    it('records a caller who leaves while it sends', async () => {
      const { sending } = ann.begin(LISTEN, { 'content-length': 2_000_000 });
      const known = upstream.forms.length;
      sending.write(form({ model: 'groq/whisper-left', file: TAPE }).slice(0, 300_000));
      await until('the provider to see the beginning', () => upstream.forms[known]?.body.length > 100_000);
      sending.socket.resetAndDestroy();
      const left = await until('the record', async () => (await op.calls({ status: 499, model: 'whisper-left' }))[0]);
      assert.deepEqual([left.outcome, left.error_type], ['aborted', 'caller_hung_up']);
      made.push({ id: left.id });
      await until('the provider to be left', () => upstream.forms[known].state === 'broken');
    });

    it('keeps files and batches apart', async () => {
      const line = (model) => JSON.stringify({ custom_id: '1', body: { model, messages: [] } });
      const lines = `${line('groq/llama-3.1-8b-instant')}\n`.repeat(4_000);
      const { sending, answer } = ann.begin('/v1/files', { 'x-hypergate-provider': 'groq' });
      sending.end(form({ purpose: 'batch', file: lines }));
      const { status, body, text } = await answer;
      assert.deepEqual([status, body.id], [200, 'file_1'], text);
      const sent = form({ purpose: 'batch', file: lines.replaceAll('groq/llama', 'llama') });
      assert.ok(upstream.forms.at(-1).body === sent, 'each line with the provider\'s name for its model');

      const answered = await fetch(`${host.url}/v1/batches`, {
        method: 'POST',
        headers: { authorization: `Bearer ${(await op.key(tenant)).key}` },
        body: JSON.stringify({ input_file_id: 'file_1', endpoint: '/v1/chat/completions', completion_window: '24h' }),
      });
      made.push({ id: answered.headers.get('x-hypergate-call-id'), status: answered.status });
      assert.deepEqual([answered.status, (await answered.json()).id], [200, 'batch_1']);

      const other = as((await op.key(await op.tenant('others'))).key);
      for (const path of ['/v1/files/file_1', '/v1/files/file_1/content', '/v1/batches/batch_1']) {
        const refused = await other.get(path);
        assert.equal(refused.status, 404, path);
        // Of these a download alone is a call.
        const id = refused.headers.get('x-hypergate-call-id');
        if (path.endsWith('/content')) made.push({ id, status: refused.status });
      }
      assert.deepEqual((await (await other.get('/v1/files')).json()).data, []);
      assert.deepEqual((await (await ann.get('/v1/files')).json()).data.map(({ id }) => id), ['file_1']);

      const content = await ann.get('/v1/files/file_1/content');
      made.push({ id: content.headers.get('x-hypergate-call-id'), status: content.status });
      const reader = content.body.getReader();
      assert.equal(String(Buffer.from((await reader.read()).value)), 'first', 'before the provider has said the last');
      upstream.forms.at(-1).go_on();
      assert.equal(String(Buffer.from((await reader.read()).value)), ' last');
      assert.equal((await reader.read()).done, true);
      assert.equal((await (await ann.get('/v1/files/file_1', 'DELETE')).json()).deleted, true);
      assert.equal((await ann.get('/v1/files/file_1')).status, 404);
    });

    /** Opens a socket, and collects what is heard there. */
    const talk = async (key, model = 'openai/gpt-realtime') => {
      const path = `/v1/realtime?model=${encodeURIComponent(model)}`;
      const socket = new WebSocket(host.url.replace('http', 'ws') + path, ['realtime', `openai-insecure-api-key.${key}`]);
      const heard = [];
      socket.addEventListener('message', ({ data }) => heard.push(JSON.parse(data)));
      const closed = new Promise((resolve) => socket.addEventListener('close', resolve));
      await new Promise((resolve, reject) => {
        socket.addEventListener('open', resolve);
        socket.addEventListener('error', reject);
      });
      await until('the session', () => heard.find(({ type }) => type === 'session.created'));
      return { socket, heard, closed, send: (event) => socket.send(JSON.stringify(event)) };
    };
    /** The record of a session that has just ended. */
    const ended = async () => {
      const isNew = ({ id }) => made.every((call) => call.id !== id);
      const sessions = async () => (await op.calls({ model: 'gpt-realtime', status: 101 })).find(isNew);
      const call = await until('the record', sessions);
      made.push({ id: call.id, status: 101 });
      return call;
    };

    it('relays a conversation, or says that it cannot', async () => {
      const { key } = await op.key(tenant);
      if (!host.hasSockets) {
        const answer = await as(key).get('/v1/realtime?model=openai%2Fgpt-realtime');
        const id = answer.headers.get('x-hypergate-call-id');
        made.push({ id, status: answer.status });
        refused({ status: answer.status, body: await answer.json(), id }, 501, 'websockets_unavailable');
        return;
      }
      const { socket, heard, send } = await talk(key);
      assert.equal(socket.protocol, 'realtime');
      const content = [{ type: 'input_text', text: 'greet' }];
      send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
      send({ type: 'response.create' });
      await until('an answer', () => heard.find(({ type }) => type === 'response.done'));
      socket.close(1000);
      const call = await ended();
      assert.deepEqual([call.operation, call.outcome, call.stream], ['realtime', 'ok', true]);
      assert.ok(call.input_tokens !== null && call.output_tokens !== null);
    });

    it('passes no model on that the key may not use, however it is written', async () => {
      if (!host.hasSockets) return;
      const { key } = await op.key(tenant, { models: ['openai/gpt-realtime', 'openai/whisper-1'] });
      const { socket, heard, send } = await talk(key);
      const session = (model) => ({ type: 'realtime', audio: { input: { transcription: { model } } } });
      const update = (model) => JSON.stringify({ event_id: 'mine', type: 'session.update', session: session(model) });
      const refusals = () => heard.filter(({ type, error }) => type === 'error' && error.code === 'model_not_allowed');
      const wrong = update('gpt-4o-transcribe');
      const asBytes = new TextEncoder().encode(wrong);
      for (const message of [wrong, wrong.replace('"model"', '"m\\u006fdel"'), wrong.replace('model', 'MODEL'), asBytes]) {
        const before = refusals().length;
        socket.send(message);
        const refusal = await until('a refusal', () => refusals()[before]);
        assert.deepEqual([refusal.error.event_id, refusal.error.type], ['mine', 'permission_error']);
      }
      assert.ok(!heard.some(({ type }) => type === 'session.updated'), 'none of it went on');
      // As callers name models, and as the provider does.
      for (const [at, model] of ['openai/whisper-1', 'whisper-1'].entries()) {
        send(JSON.parse(update(model)));
        const updates = () => heard.filter(({ type }) => type === 'session.updated');
        const { session } = await until('the session', () => updates()[at]);
        assert.equal(session.audio.input.transcription.model, 'whisper-1');
      }
      socket.close(1000);
      await ended();
    });

    it('ends a conversation in which nobody says anything, and one that goes on for too long', async () => {
      if (!host.hasSockets) return;
      const { key } = await op.key(tenant);
      for (const [talks, least, most] of [[false, 3_500, 7_500], [true, 7_500, 20_000]]) {
        const { closed, socket } = await talk(key);
        const began = Date.now();
        // Far more often than silence is allowed to last.
        const append = JSON.stringify({ type: 'input_audio_buffer.append', audio: 'AAAA' });
        const timer = talks && setInterval(() => socket.send(append), 500);
        const { code } = await closed;
        clearInterval(timer);
        const lasted = Date.now() - began;
        assert.equal(code, 1008);
        assert.ok(lasted >= least && lasted <= most, `${lasted} ms`);
        const call = await ended();
        assert.deepEqual([call.outcome, call.duration_ms >= least], ['ok', true]);
      }
    });

    // --- what is kept ---

    it('keeps the content of calls as the tenant chose', async () => {
      const teller = await op.tenant('teller');
      const bob = as((await op.key(teller)).key);
      const words = 'greet: my card is 4111';
      for (const mode of ['none', 'redacted', 'full']) {
        await op.admin('PATCH', `/tenants/${teller.id}`, { payload_mode: mode });
        const answers = await bothWays((stream) => bob.chat('openai/gpt-5-mini', words, { stream }));
        for (const { payload } of await Promise.all(answers.map(({ id }) => recorded(id)))) {
          assert.equal(payload?.mode, mode === 'none' ? undefined : mode);
          if (mode === 'none') continue;
          const kept = mode === 'full';
          assert.deepEqual([payload.request.includes('4111'), payload.response.includes('Hello')], [kept, kept], mode);
          assert.ok(payload.request.includes('"role":"user"') && payload.response.includes('finish_reason'));
          assert.ok(!payload.request_headers.includes('hg_') && payload.request_headers.includes('authorization'));
          assert.equal(payload.truncated, false);
        }
      }
    });

    it('records what a call was', async () => {
      const cases = [
        ['openai/gpt-5-mini', true, false],
        ['openai/gpt-5-mini', true, true],
        ['openai/nobody-priced-this', false, false],
        ['openai/nobody-priced-this', false, true],
        [ECHO, false, false],
        [ECHO, false, true],
      ];
      await Promise.all(cases.map(async ([model, isPriced, stream]) => {
        const answer = await ann.chat(model, 'greet', { stream, user: 'end-user-7' });
        const record = await recorded(answer.id);
        const [provider, name] = model.split('/');
        const expected = {
          tenant_id: tenant.id,
          operation: 'chat',
          route: ROUTE,
          request_model: model,
          provider_name: provider === 'demo' ? 'hypergate.demo' : provider,
          status: 200,
          outcome: 'ok',
          error_type: null,
          input_tokens: provider === 'demo' ? 1 : 11,
          output_tokens: provider === 'demo' ? 1 : 7,
          usage_estimated: provider === 'demo',
          finish_reason: 'stop',
          stream,
          cache_status: 'none',
          release: 'test-release',
        };
        assert.deepEqual(Object.fromEntries(Object.keys(expected).map((field) => [field, record[field]])), expected);
        assert.equal(record.cost_microusd !== null, isPriced, `${model}: ${record.cost_microusd}`);
        assert.match(record.end_user_hash, /^[0-9a-f]{16,}$/);
        assert.match(record.trace_id, /^[0-9a-f]{32}$/);
        assert.match(record.key_id, /^key_/);
        const [attempt] = record.attempts;
        assert.equal(record.attempts.length, 1);
        assert.deepEqual([attempt.provider, attempt.model, attempt.status], [provider, name, 200]);
        assert.ok(record.started_ms >= began_ms && record.duration_ms >= record.upstream_first_byte_ms);
        assert.ok(record.overhead_ms >= 0 && record.overhead_ms <= record.duration_ms);
        assert.equal(record.time_to_first_chunk_ms === null, !stream);
      }));
      const { id } = await ann.chat('openrouter/openai/gpt-5-mini', 'count');
      const tokens = await recorded(id);
      assert.deepEqual([tokens.input_tokens, tokens.cache_read_input_tokens], [100, 60]);
      assert.deepEqual([tokens.output_tokens, tokens.reasoning_output_tokens], [40, 25]);
    });

    it('has a record for every call, and for nothing else', async () => {
      const ids = made.map(({ id }) => id).sort();
      const calls = await until('every record', async () => {
        const calls = (await op.calls({ from: began_ms })).filter(isTimely);
        return calls.length >= ids.length && calls;
      });
      assert.deepEqual(calls.map(({ id }) => id).sort(), ids);
      // A caller that left had seen the 200 of its stream, or nothing.
      const seen = new Map(made.map(({ id, status }) => [id, status]));
      for (const { id, status, outcome } of calls) {
        assert.ok((outcome === 'aborted' ? [200, undefined] : [status]).includes(seen.get(id)), `${id} ${status}`);
      }
    });

    it('counts the calls as a recount does', async () => {
      await rewind();
      const { body } = await op.tick();
      assert.deepEqual([body.did, body.failed_steps], ['work', []]);
      const from = minute(began_ms);
      const calls = (await op.calls({ from })).filter(isTimely);
      for (const grain of ['minute', 'hour', 'day']) {
        const query = new URLSearchParams({ from, grain, by: 'tenant,route,provider,model,outcome' });
        const { data } = await op.admin('GET', `/metrics?${query}`);
        const counted = data.filter(isTimely).map((row) => {
          const { bucket_ms, tenant_id, route, provider_name, model, outcome } = row;
          return [key(bucket_ms, tenant_id, route, provider_name, model, outcome), sums(row)];
        });
        assert.deepEqual(Object.fromEntries(counted), recount(calls, grain));
      }
    });

    it('tells Prometheus', async () => {
      const headers = { authorization: `Bearer ${SECRETS.ADMIN_TOKEN}` };
      const answer = await fetch(`${host.url}/metrics`, { headers });
      assert.match(answer.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
      const samples = parse(await answer.text());
      const total = (name, wanted) => {
        const matches = ({ labels }) => Object.entries(wanted).every(([label, value]) => labels[label] === value);
        const found = samples.filter((sample) => sample.name === name && matches(sample));
        return found.reduce((sum, { value }) => sum + value, 0);
      };
      const mine = { tenant_id: tenant.id };
      const calls = await op.calls({ tenant: tenant.id });
      assert.equal(total('hypergate_calls_total', mine), calls.length);
      const aborted = calls.filter(({ outcome }) => outcome === 'aborted');
      assert.equal(total('hypergate_calls_total', { ...mine, outcome: 'aborted' }), aborted.length);
      assert.equal(total('hypergate_call_duration_seconds_count', mine), calls.length);
      assert.equal(total('hypergate_records_lost_total', {}), 0);
      const { data: firing } = await op.admin('GET', '/alerts?state=firing');
      assert.equal(total('hypergate_alerts_firing', {}), firing.length);
      assert.equal(total('hypergate_info', { release: 'test-release' }), 1);
    });

    it('resolves the alert once and tells it', async () => {
      const { alert, secret, newest_ms } = watched;
      assert.ok(newest_ms, 'the alert never fired');
      // The sixth good minute is looked at half a minute after its end; a tick above may have done so.
      const due_ms = newest_ms + 2 * MINUTE_MS + 30_000;
      await sleep(Math.max(0, due_ms - Date.now() + 100));
      for (const _ of [1, 2, 3]) {
        await rewind();
        await host.strike();
      }
      const { data } = await op.admin('GET', `/alerts?tenant=${alert.id}`);
      assert.equal(data.length, 1);
      const [episode] = data;
      assert.deepEqual([episode.rule_id, episode.state, episode.route], ['error-share', 'resolved', ROUTE]);
      assert.deepEqual([episode.opened_ms, episode.resolved_ms], [newest_ms - 5 * MINUTE_MS, newest_ms + MINUTE_MS]);
      const notices = episode.notices.map(({ kind, status, attempts }) => `${kind} ${status} ${attempts}`);
      assert.deepEqual(notices.sort(), ['firing delivered 3', 'resolved delivered 1']);
      const told = receiver.heard.filter(({ event, status }) => event.data.rule_id === 'error-share' && status === 200);
      assert.deepEqual(told.map(({ event }) => event.type), ['alert.firing', 'alert.resolved']);
      assert.ok(isSigned(told[1], secret));
    });
  });
}

/** The same call, whole and streamed. */
function bothWays(call) {
  return Promise.all([false, true].map(call));
}

function minute(ms) {
  return ms - (ms % MINUTE_MS);
}

/** The one notice of the one episode of this tenant. */
async function only(op, tenant) {
  const { data } = await op.admin('GET', `/alerts?tenant=${tenant.id}`);
  assert.deepEqual(data.map(({ rule_id, state }) => [rule_id, state]), [['error-share', 'firing']]);
  assert.equal(data[0].notices.length, 1);
  return data[0].notices[0];
}

/** An answer that is an error, in the shape every client of OpenAI reads. */
function refused({ status, body, id, text }, expected, code, param = null) {
  assert.equal(status, expected, text);
  const { message, type, ...rest } = body.error;
  assert.deepEqual(rest, { param, code, request_id: id }, text);
  assert.ok(message.length > 10 && type.endsWith('_error'), text);
}

/** A stream that ended with an error, which must not look like success. */
function broken({ status, done, error, id, finish, text }, code) {
  assert.deepEqual([status, done, finish], [200, false, undefined], text);
  const { message, type, ...rest } = error;
  assert.deepEqual(rest, { param: null, code, request_id: id }, text);
  assert.ok(message.length > 10 && type === 'api_error', text);
  assert.ok(!text.includes('[DONE]'));
}

const key = (...parts) => parts.join(' | ');

/** Whether a provider was asked, and not the built-in one. */
const isAsked = ({ provider_name }) => ![null, 'hypergate.demo'].includes(provider_name);

const SUMS = {
  calls: () => 1,
  errors: ({ outcome }) => Number(outcome === 'error'),
  streams: ({ stream }) => Number(stream),
  without_usage: ({ stream, outcome, output_tokens, usage_estimated, ...call }) =>
    Number(stream && outcome === 'ok' && isAsked(call) && (output_tokens === null || usage_estimated)),
  input_tokens: (call) => call.input_tokens ?? 0,
  cache_read_input_tokens: (call) => call.cache_read_input_tokens ?? 0,
  cache_write_input_tokens: (call) => call.cache_write_input_tokens ?? 0,
  output_tokens: (call) => call.output_tokens ?? 0,
  reasoning_output_tokens: (call) => call.reasoning_output_tokens ?? 0,
  cost_microusd: (call) => call.cost_microusd ?? 0,
  without_cost: ({ cost_microusd, operation, outcome, time_to_first_chunk_ms, ...call }) =>
    Number(
      cost_microusd === null &&
        isAsked(call) &&
        !['count_tokens', 'create_batch', 'create_file', 'file_content'].includes(operation) &&
        (outcome === 'ok' || time_to_first_chunk_ms !== null),
    ),
};

const sums = (row) => Object.fromEntries(Object.keys(SUMS).map((name) => [name, row[name]]));

const WIDTHS_MS = { minute: MINUTE_MS, hour: 60 * MINUTE_MS, day: 24 * 60 * MINUTE_MS };

/** What the rollups should say, counted call by call. */
function recount(calls, grain) {
  const counted = {};
  for (const call of calls) {
    const { started_ms, route, response_model, outcome } = call;
    // What is not known is counted under an empty text.
    const [tenant_id, provider_name, target_model] = ['tenant_id', 'provider_name', 'target_model'].map(
      (name) => call[name] ?? '',
    );
    const bucket_ms = started_ms - (started_ms % WIDTHS_MS[grain]);
    // A model its provider does not know is told by no name.
    // A name nobody answered to is any text a caller made up.
    const isKnown = response_model !== null || ['ok', 'error', 'rate_limited'].includes(outcome);
    const model = isKnown ? target_model : '';
    const row = (counted[key(bucket_ms, tenant_id, route, provider_name, model, outcome)] ??= {});
    for (const [name, count] of Object.entries(SUMS)) row[name] = (row[name] ?? 0) + count(call);
  }
  return counted;
}

/** Prometheus' text format; a line that is not in it is an error. */
function parse(text) {
  assert.ok(text.endsWith('\n'));
  const samples = [];
  for (const line of text.split('\n').slice(0, -1)) {
    if (/^# (HELP|TYPE) [a-zA-Z_:][\w:]* ./.test(line)) continue;
    const found = line.match(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/);
    assert.ok(found, line);
    const [, name, labels = '', value] = found;
    const pairs = [...labels.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/g)];
    assert.equal(pairs.map(([pair]) => pair).join(''), labels, line);
    assert.ok(Number.isFinite(Number(value)), line);
    const named = Object.fromEntries(pairs.map(([, label, value]) => [label, value]));
    samples.push({ name, labels: named, value: Number(value) });
  }
  return samples;
}
