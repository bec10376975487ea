// Cloudflare's runtime, with the bindings of wrangler.toml: database, cache, journal queue, cron.

import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

import { Miniflare, convertV4MiniflareOptions } from 'miniflare';

import { ROOT } from './wait.mjs';

/** The files of a built Worker. */
export function modulesOf(folder) {
  const files = [['ESModule', 'index.js']];
  for (const module of ['calls', 'watch']) {
    files.push(['ESModule', `${module}/index.js`], ['CompiledWasm', `${module}/index_bg.wasm`]);
  }
  return files.map(([type, file]) => ({ type, path: path.join(folder, file) }));
}

/** What wrangler.toml binds, in Miniflare's words. */
export const BOUND = {
  compatibilityDate: '2026-11-01',
  compatibilityFlags: ['enable_request_signal'],
  d1Databases: ['DB'],
  durableObjects: { CLOCK: { className: 'Clock', useSQLite: true } },
  kvNamespaces: ['KV'],
  queueProducers: { JOURNAL: 'hypergate-journal' },
  queueConsumers: {
    'hypergate-journal': { maxBatchSize: 100, deadLetterQueue: 'hypergate-journal-dead' },
    'hypergate-journal-dead': { maxBatchSize: 10 },
  },
  versionMetadata: 'CF_VERSION_METADATA',
};

/** The consumers, waiting for this long. */
const eager = (maxBatchTimeout) => {
  const consumers = Object.entries(BOUND.queueConsumers).map(([queue, consumer]) => [queue, { ...consumer, maxBatchTimeout }]);
  return Object.fromEntries(consumers);
};

/**
 * Starts the built Worker, or another `made` of files of a folder, with these settings on an empty database, or on what
 * is in the folder `state`. With `hasClock` there is the object whose alarm ticks; with `clock` the time is what each
 * request says (see clocked.mjs).
 */
export async function startWorkers(settings, { hasClock = false, made, state, clock } = {}) {
  const folder = process.env.HYPERGATE_WORKER_DIR ?? path.join(ROOT, 'build');
  const log = [];
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: 'hypergate',
      modulesRoot: made?.folder ?? folder,
      modules: made?.modules ?? (clock ? clocked(folder) : modulesOf(folder)),
      ...BOUND,
      durableObjects: hasClock ? BOUND.durableObjects : {},
      queueConsumers: eager(clock ? 0 : 1),
      bindings: settings,
      ...(state && { resourcePersistencePath: path.join(state, 'resources') }),
      // The entry proxy in front of this is no part of Cloudflare, and buffers.
      unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
      handleRuntimeStdio(...streams) {
        for (const stream of streams) stream.on('data', (text) => log.push(String(text)));
      },
      cf: false,
      telemetry: { enabled: false },
    }),
  );
  await miniflare.ready;
  const database = await miniflare.getD1Database('DB');
  const isNew = (await database.prepare(`SELECT name FROM sqlite_schema WHERE name = 'calls'`).all()).results.length === 0;
  if (isNew) for (const statement of migrations()) await database.prepare(statement).run();
  const url = new URL(await miniflare.unsafeGetDirectURL('hypergate')).origin;
  return {
    url,
    log,
    noticesEarlyHangUps: true,
    hasSockets: true,
    /** Reads and writes the database beside the gateway. */
    async sql(text, ...params) {
      return (await database.prepare(text).bind(...params).all()).results;
    },
    /** What strikes every minute: the cron door. */
    async strike() {
      const worker = await miniflare.getWorker();
      const { outcome } = await worker.scheduled({ cron: '* * * * *', scheduledTime: new Date() });
      if (outcome !== 'ok') throw new Error(`the cron event ended with ${outcome}`);
    },
    stop: () => miniflare.dispose(),
  };
}

/** The Worker behind a door that sets its clock. */
function clocked(folder) {
  const [clock, door] = ['clock.mjs', 'clocked.mjs'].map((file) => ({
    type: 'ESModule',
    path: path.join(folder, file),
    contents: readFileSync(path.join(ROOT, 'tests/hosts/lib', file), 'utf8'),
  }));
  return [door, clock, ...modulesOf(folder)];
}

/** Every statement of the migrations, in order. */
function migrations() {
  const folder = path.join(ROOT, 'shared/gateway/migrations');
  const texts = readdirSync(folder).sort().map((file) => readFileSync(path.join(folder, file), 'utf8'));
  const statements = texts.flatMap((text) => text.replace(/^\s*--.*$/gm, '').split(/;\s*$/m));
  return statements.map((statement) => statement.trim()).filter(Boolean);
}
