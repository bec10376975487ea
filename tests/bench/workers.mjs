// Runs the Workers that `cargo xtask bench` measures, each on its own workerd. Prints one line of JSON
// when they answer; after that, every line read asks how many records there are and is answered with
// one. Ends when its input does.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { Miniflare, convertV4MiniflareOptions } from 'miniflare';

import { modulesOf } from '../hosts/lib/workers.mjs';

const { upstream, scripts, builds, migrations } = JSON.parse(process.argv[2]);
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const running = [];

/** Makes a Worker's `fetch` go straight to the network; to be put before its own code. */
const DIRECT = `
import { env as bindings } from 'cloudflare:workers';
globalThis.fetch = (url, init) => bindings.OUTBOUND.fetch(url, init);
`;

/** Sends what goes to the queue to where the queue is: on Cloudflare, too, it is not in the Worker's process. */
const REMOTE_QUEUE = `
Object.defineProperty(bindings, 'JOURNAL', {
  value: {
    async send(message) {
      const answer = await fetch(bindings.QUEUE_URL, { method: 'POST', body: message });
      if (!answer.ok) throw new Error('the queue took nothing: ' + answer.status);
    },
  },
});
`;

/** The queue's end of it: what is posted here is queued. Everything else is the gateway's. */
const QUEUE = `
import gateway from './index.js';
export default class extends gateway {
  async fetch(request) {
    await this.env.JOURNAL.send(await request.text(), { contentType: 'text' });
    return new Response();
  }
}
`;

/** Starts a Worker and returns the URL of its own socket: no proxy of Miniflare's stands before it. */
async function start(options) {
  const worker = new Miniflare(convertV4MiniflareOptions({
    name: 'measured',
    compatibilityDate: '2026-11-01',
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
    cf: false,
    // Miniflare puts a Worker of its own behind `fetch`, which costs as much as the one that is measured.
    // Behind this binding there is only the network.
    serviceBindings: { OUTBOUND: { network: { allow: ['private'] } } },
    handleRuntimeStdio(out, error) {
      out.pipe(process.stderr);
      error.pipe(process.stderr);
    },
    ...options,
  }));
  running.push(worker);
  const before = children();
  await worker.ready;
  const pid = children().find((child) => !before.includes(child));
  return { worker, pid, url: await worker.unsafeGetDirectURL('measured') };
}

/** The processes this one has started, where the system tells. */
function children() {
  try {
    return readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number);
  } catch {
    return [];
  }
}

/**
 * Hypergate as wrangler.toml binds it, with its database made and a key to call it with. Its queue, the
 * queue's consumer and the database that takes the records run in a process of their own.
 */
async function startGateway(folder) {
  const secret = 'only good for a measurement, so anyone may read it';
  const options = (entry) => ({
    modulesRoot: folder,
    modules: [
      { type: 'ESModule', path: path.join(folder, 'entry.js'), contents: entry },
      ...modulesOf(folder),
    ],
    compatibilityFlags: ['enable_request_signal'],
    d1Databases: ['DB'],
    kvNamespaces: ['KV'],
  });
  const queue = await start({
    ...options(QUEUE),
    queueProducers: { JOURNAL: 'hypergate-journal' },
    queueConsumers: { 'hypergate-journal': { maxBatchSize: 100, maxBatchTimeout: 1 } },
    bindings: { HYPERGATE_SECRET: secret },
  });
  const { worker, pid, url } = await start({
    ...options(`${DIRECT}${REMOTE_QUEUE}export * from './index.js'; export { default } from './index.js';`),
    bindings: {
      QUEUE_URL: queue.url.href,
      HYPERGATE_SECRET: secret,
      ADMIN_TOKEN: 'admin',
      OPENAI_API_KEY: 'sk-bench',
      OPENAI_BASE_URL: `${upstream}/v1`,
      ANTHROPIC_API_KEY: 'sk-bench',
      ANTHROPIC_BASE_URL: upstream,
    },
  });
  const records = await makeTables(queue.worker);
  await makeTables(worker);
  const tenant = await admin(url, '/tenants', { name: 'bench' });
  const { key } = await admin(url, `/tenants/${tenant.id}/keys`, { name: 'bench' });
  return { pids: [pid, queue.pid], url, key, database: records };
}

async function makeTables(worker) {
  const database = await worker.getD1Database('DB');
  for (const file of readdirSync(migrations).sort()) {
    const sql = readFileSync(path.join(migrations, file), 'utf8').replace(/--.*$/gm, '');
    const statements = sql.split(';').map((text) => text.trim()).filter((text) => text !== '');
    await database.batch(statements.map((text) => database.prepare(text)));
  }
  return database;
}

async function admin(url, route, body) {
  const response = await fetch(new URL(`/admin/v1${route}`, url), {
    method: 'POST',
    headers: { authorization: 'Bearer admin', 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (response.status !== 201) throw new Error(`${route}: ${response.status} ${await response.text()}`);
  return response.json();
}

async function stored({ database }) {
  const calls = await database.prepare("SELECT count(*) AS n, coalesce(sum(outcome = 'ok'), 0) AS ok FROM calls").first();
  const losses = await database.prepare('SELECT coalesce(sum(count), 0) AS n FROM journal_losses').first();
  return { calls: calls.n, ok: calls.ok, reported_lost: losses.n };
}

const plain = [];
for (const script of scripts) {
  plain.push(await start({
    modules: [{ type: 'ESModule', path: script, contents: DIRECT + readFileSync(script, 'utf8') }],
    bindings: { UPSTREAM: `${upstream}/v1/chat/completions` },
  }));
}
const gateways = [];
for (const folder of builds) gateways.push(await startGateway(folder));
tell({
  plain: plain.map(({ url, pid }) => ({ address: url.host, pids: [pid] })),
  gateways: gateways.map(({ url, pids, key }) => ({ address: url.host, pids, key })),
});

for await (const _ of readline.createInterface({ input: process.stdin })) {
  tell(await Promise.all(gateways.map(stored)));
}
await Promise.all(running.map((worker) => worker.dispose()));
