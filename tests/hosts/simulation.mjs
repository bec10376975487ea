// Three hours of a deployment on a real runtime: real calls of providers that fail, real receivers, a clock that the test
// moves, and a process that is killed and started again on its database. What happens, and what is to be heard of it, is
// in tests/simulation/, which tests/tests/simulation.rs plays with a host made of memory.

import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { SECRETS } from './lib/gateway.mjs';
import { close } from './lib/receiver.mjs';
import { ROOT, listen, until } from './lib/wait.mjs';

const MINUTE_MS = 60_000;
const ROUTE = '/v1/chat/completions';

/** Plays it. `start` starts a gateway with settings on `{ state, clock }`, whose `kill` takes it away. */
export function simulation(name, start, options = {}) {
  test(`${name}: three hours`, options, async (t) => {
    const run = await Run.begin(start);
    try {
      await run.setUp();
      await run.play();
      const expected = readFileSync(path.join(ROOT, 'tests/simulation/scenario.txt'), 'utf8');
      const [heard, wanted] = [run.told(), expected].map((text) => text.split('\n'));
      const not = (one, other) => one.filter((line) => !other.includes(line));
      assert.deepEqual({ missing: not(wanted, heard), unexpected: not(heard, wanted) }, { missing: [], unexpected: [] });
      assert.equal(heard.length, wanted.length);
      t.diagnostic(`${run.calls} calls, ${run.ticks} ticks, killed ${run.deaths} times, ${run.repeated} notices heard again`);
      assert.ok(run.deaths >= 8, `${run.deaths} deaths`);
    } catch (error) {
      t.diagnostic(`the host said: …${run.host.log.join('').slice(-2_000)}`);
      throw error;
    } finally {
      await run.end();
    }
  });
}

class Run {
  scenario = JSON.parse(readFileSync(path.join(ROOT, 'tests/simulation/scenario.json'), 'utf8'));
  start_ms = Date.parse(this.scenario.start);
  state = mkdtempSync(path.join(tmpdir(), 'hypergate-simulation-'));
  clock = openSync(path.join(this.state, 'clock'), 'w');
  random = randomFrom(2026);
  /** What was heard, by the notices' ids. */
  heard = new Map();
  repeated = 0;
  calls = 0;
  ticks = 0;
  deaths = 0;
  ids = {};
  keys = {};

  static async begin(start) {
    const run = new Run();
    run.setClock(run.at(Math.min(...run.scenario.traffic.map(({ from }) => from))));
    run.server = createServer((request, answer) => run.serve(request, answer));
    run.url = await listen(run.server);
    const settings = {
      ...SECRETS,
      OPENAI_API_KEY: 'sk-openai',
      OPENAI_BASE_URL: `${run.url}/v1`,
      GROQ_API_KEY: 'sk-groq',
      GROQ_BASE_URL: `${run.url}/v1`,
      UPSTREAM_HOST: run.url,
      RECEIVER_HOST: run.url,
      ALLOW_LOCAL_RECEIVERS: 'true',
      RELEASE: 'test',
    };
    run.start = () => start(settings, { state: run.state, clock: path.join(run.state, 'clock') });
    run.host = await run.start().catch(async (error) => {
      await close(run.server);
      throw error;
    });
    return run;
  }

  async end() {
    await this.host.stop();
    await close(this.server);
    closeSync(this.clock);
    rmSync(this.state, { recursive: true, force: true });
  }

  at(minute) {
    return this.start_ms + minute * MINUTE_MS;
  }

  setClock(ms) {
    this.now_ms = ms;
    // As long as ever, in one piece: a reader sees the one or the other.
    writeSync(this.clock, String(ms).padStart(16, '0'), 0);
  }

  async ask(method, path, body, token = SECRETS.ADMIN_TOKEN) {
    const answer = await fetch(this.host.url + path, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'x-test-now-ms': String(this.now_ms) },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, text: await answer.text() };
  }

  async admin(method, path, body) {
    const named = body && JSON.parse(JSON.stringify(body).replace(/\{(\w+)\}/g, (_, name) => this.ids[name]));
    const { status, text } = await this.ask(method, `/admin/v1/${path}`, named);
    assert.ok(status < 300, `${method} ${path}: ${status} ${text}`);
    return JSON.parse(text);
  }

  async setUp() {
    const { tenants, receivers, setup, escalations } = this.scenario;
    for (const name of tenants) this.ids[name] = (await this.admin('POST', 'tenants', { name })).id;
    for (const { name, tenant } of receivers) {
      const settings = { name, kind: 'webhook', url: `${this.url}/hear/${name}`, tenant_id: tenant && this.ids[tenant] };
      this.ids[name] = (await this.admin('POST', 'receivers', settings)).id;
    }
    for (const [method, path, body] of [...setup, ...escalations]) await this.admin(method, path, body);
    for (const name of tenants) this.keys[name] = (await this.admin('POST', `tenants/${this.ids[name]}/keys`, { name: 'key' })).key;
  }

  async play() {
    const { minutes, traffic, actions, acknowledged, ticks } = this.scenario;
    const busy = new Set(traffic.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, n) => from + n)));
    const is = (list, minute) => list.some((one) => (Array.isArray(one) ? one[0] <= minute && minute < one[1] : one === minute));
    for (const minute of [...busy].filter((minute) => minute < 0).sort((a, b) => a - b)) {
      await this.traffic(minute);
      await this.tick(minute);
    }
    let done = -1;
    for (let minute = 0; minute < minutes; minute += 1) {
      this.setClock(this.at(minute) + 30_000);
      for (const [, method, path, body] of actions.filter(([at]) => at === minute)) await this.admin(method, path, body);
      for (const action of acknowledged.filter((action) => action.minute === minute)) await this.acknowledge(action);
      if (done < minute) await this.traffic(minute);
      if (is(ticks.skipped, minute) || done === minute) continue;
      if (is(ticks.overlapping, minute)) {
        // The tick of the next minute comes before this one is through.
        done = minute + 1;
        await this.traffic(done);
        const first = this.tick(minute);
        await sleep(this.random(20));
        await Promise.all([first, this.tick(done)]);
      } else if (this.random(14) === 0) {
        await this.dyingTick(minute);
      } else {
        await this.tick(minute);
        if (is(ticks.twice, minute)) await this.tick(minute);
      }
    }
  }

  /** The calls of a minute, one after the other, until they are on record. */
  async traffic(minute) {
    let made = 0;
    for (const tenant of this.scenario.tenants) {
      const entry = this.scenario.traffic.filter((one) => one.tenant === tenant && one.from <= minute && minute < one.to).at(-1);
      if (!entry) continue;
      const { from, model, calls, errors = 0, limited = 0, took_ms = 0, grows_ms = 0, spread_ms = 0, whole = false } = entry;
      this.setClock(this.at(minute) + 1_000);
      for (let call = 0; call < calls; call += 1) {
        const status = call < errors ? 503 : call < errors + limited ? 429 : 200;
        const took = status === 200 ? took_ms + grows_ms * (minute - from) + spread_ms * call : 0;
        const content = JSON.stringify({ status, took });
        const answer = await fetch(this.host.url + ROUTE, {
          method: 'POST',
          headers: { authorization: `Bearer ${this.keys[tenant]}`, 'x-test-now-ms': String(this.now_ms) },
          body: JSON.stringify({ model, stream: !whole, messages: [{ role: 'user', content }] }),
        });
        const text = await answer.text();
        assert.equal(answer.status, status, `minute ${minute}, killed ${this.deaths} times: ${text}`);
      }
      made += calls;
    }
    this.calls += made;
    this.setClock(this.at(minute) + 59_000);
    const [from, to] = [minute, minute + 1].map((one) => new Date(this.at(one)).toISOString());
    const recorded = async () => (await this.admin('GET', `calls?from=${from}&to=${to}&limit=500`)).data.length === made;
    await until(`the records of minute ${minute}`, recorded, 15_000, 10);
  }

  async tick(minute) {
    this.setClock(this.at(minute + 1) + 35_000);
    this.ticks += 1;
    const { status, text } = await this.ask('POST', '/internal/tick', undefined, SECRETS.TICK_TOKEN);
    assert.equal(status, 200, text);
    assert.deepEqual(JSON.parse(text).failed_steps, [], text);
  }

  /** A tick under which the gateway is killed, or right after which. */
  async dyingTick(minute) {
    const ticked = this.tick(minute).catch(() => {});
    await sleep(this.random(60));
    await this.host.kill();
    await ticked;
    this.deaths += 1;
    this.host = await this.start();
  }

  async acknowledge({ rule, tenant, by }) {
    const { data } = await this.admin('GET', 'alerts?state=firing');
    const found = data.find(({ rule_id, tenant_id }) => rule_id === rule && tenant_id === this.ids[tenant]);
    assert.ok(found, `${rule} of ${tenant} does not fire`);
    await this.admin('POST', `episodes/${found.id}/acknowledge`, { by });
  }

  /** The providers and the receivers. */
  async serve(request, answer) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks));
    if (request.url.startsWith('/hear/')) return answer.writeHead(this.hear(request, body)).end();
    const { status, took } = JSON.parse(body.messages[0].content);
    this.setClock(this.now_ms + took);
    const headers = { 'content-type': body.stream && status === 200 ? 'text/event-stream' : 'application/json', 'x-test-took-ms': took };
    if (status !== 200) {
      return answer.writeHead(status, { ...headers, 'retry-after': 30 }).end(JSON.stringify({ error: { message: 'no' } }));
    }
    const usage = { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 };
    const choice = { index: 0, finish_reason: 'stop' };
    if (!body.stream) {
      return answer.writeHead(200, headers).end(JSON.stringify({ choices: [{ ...choice, message: { role: 'assistant', content: 'Hi' } }], usage }));
    }
    const chunk = { id: 'c', object: 'chat.completion.chunk', choices: [{ ...choice, delta: { content: 'Hi' } }], usage };
    answer.writeHead(200, headers).end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
  }

  /** Hears a notice, or fails to. Returns the status. */
  hear({ url, headers }, event) {
    const name = url.split('/').at(-1);
    const minute = Math.floor((this.now_ms - this.start_ms) / MINUTE_MS);
    const { fails = [] } = this.scenario.receivers.find((receiver) => receiver.name === name);
    if (fails.some(([from, to]) => from <= minute && minute < to)) return 500;
    const id = headers['webhook-id'];
    const line = lineOf(name, event);
    if (this.heard.has(id)) {
      // The gateway was killed before it wrote down that this was heard.
      this.repeated += 1;
      assert.equal(this.heard.get(id), line);
    }
    this.heard.set(id, line);
    return 200;
  }

  /** What was heard, a line a notice. Nothing is told under two ids. */
  told() {
    return [...this.heard.values()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))).join('');
  }
}

/** As in tests/src/simulation.rs. */
function lineOf(name, { timestamp, data }) {
  const clock = (time) => time.slice(11, 16);
  const { kind, severity, title, started_at, summary, labels } = data;
  const isGroup = labels.tenant_id === undefined && summary.includes('alerts');
  const told = data.facts.map((fact) => `${fact.name}: ${fact.value}`);
  const facts = told.filter((fact) => !fact.startsWith('Associated with: key=')).sort().join('; ');
  const words = isGroup ? summary.slice(0, summary.indexOf('alerts') + 6) : summary;
  return `${name} ${clock(timestamp)} ${kind} ${severity} ${title}, since ${clock(started_at)}: ${words} | ${facts}\n`;
}

/** Numbers below a bound, the same for the same seed. */
function randomFrom(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}
