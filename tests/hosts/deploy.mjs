// What a deployer runs, as far as it goes without an account.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';

import wrangler from 'wrangler';

import { SECRETS, caller, operator } from './lib/gateway.mjs';
import { ROOT } from './lib/wait.mjs';
import { BOUND, startWorkers } from './lib/workers.mjs';

/** Of a Worker, compressed, on Cloudflare's free plan. */
const FREE_PLAN_KIB = 3_000_000 / 1024;

describe('wrangler.toml', () => {
  let folder;
  before(() => (folder = mkdtempSync(path.join(tmpdir(), 'hypergate-deploy-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  const run = async (...words) => {
    const script = path.join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
    const { stdout } = await promisify(execFile)(process.execPath, [script, ...words], {
      cwd: ROOT,
      env: {
        ...process.env,
        CI: 'true',
        CLOUDFLARE_CF_FETCH_ENABLED: 'false',
        WRANGLER_LOG_PATH: path.join(folder, 'logs'),
        WRANGLER_SEND_ERROR_REPORTS: 'false',
        WRANGLER_SEND_METRICS: 'false',
      },
      maxBuffer: 16 << 20,
    });
    return stdout;
  };

  it('uploads a Worker that starts, small enough for the free plan', async () => {
    const out = path.join(folder, 'out');
    const said = await run('deploy', '--dry-run', '--outdir', out);
    const bound = [...said.matchAll(/\benv\.(\w+)/g)].map(([, name]) => name);
    const names = [BOUND.d1Databases, BOUND.kvNamespaces, BOUND.versionMetadata];
    names.push(Object.keys(BOUND.durableObjects), Object.keys(BOUND.queueProducers));
    assert.deepEqual([...new Set(bound)].sort(), names.flat().sort(), said);
    assert.ok(Number(said.match(/gzip: ([\d.]+) KiB/)[1]) < FREE_PLAN_KIB, said);

    const modules = readdirSync(out, { recursive: true }).flatMap((file) => {
      const type = { '.js': 'ESModule', '.wasm': 'CompiledWasm' }[path.extname(file)];
      return type ? [{ type, path: path.join(out, file) }] : [];
    });
    modules.sort((one, other) => (path.basename(other.path) === 'index.js') - (path.basename(one.path) === 'index.js'));
    assert.deepEqual(modules.map(({ type }) => type), ['ESModule', 'CompiledWasm', 'CompiledWasm']);
    const host = await startWorkers(SECRETS, { hasClock: true, made: { folder: out, modules } });
    try {
      // One module makes the key, the other takes it, and cron sets the clock.
      const op = operator(host.url);
      const { key } = await op.key(await op.tenant('first'));
      assert.equal((await caller(host.url, key).chat('demo/echo', 'hello')).status, 200);
      await host.strike();
      assert.ok((await (await fetch(`${host.url}/healthz`)).json()).last_tick_ms > 0);
    } finally {
      await host.stop();
    }
  });

  it('makes the tables', async () => {
    const state = path.join(folder, 'state');
    await run('d1', 'migrations', 'apply', 'DB', '--local', '--persist-to', state);
    const [file] = readdirSync(state, { recursive: true }).filter((file) => /\/[0-9a-f]{64}\.sqlite$/.test(file));
    const migrations = path.join(ROOT, 'shared/gateway/migrations');
    const files = readdirSync(migrations).sort();
    const wanted = new DatabaseSync(':memory:');
    for (const file of files) wanted.exec(readFileSync(path.join(migrations, file), 'utf8'));
    const made = new DatabaseSync(path.join(state, file), { readOnly: true });
    const tables = (database) =>
      database
        .prepare(`SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name`)
        .all()
        .filter(({ name }) => name !== 'd1_migrations' && !name.startsWith('_cf_'));
    assert.deepEqual(tables(made), tables(wanted));
    const applied = made.prepare('SELECT name FROM d1_migrations ORDER BY name').all();
    assert.deepEqual(applied.map(({ name }) => name), files);
    made.close();
  });

  it('binds what the tests bind', () => {
    const config = wrangler.unstable_readConfig({ config: path.join(ROOT, 'wrangler.toml') });
    const pairs = (list, pair) => Object.fromEntries(list.map(pair));
    const sqlite = config.migrations.flatMap(({ new_sqlite_classes }) => new_sqlite_classes ?? []);
    assert.deepEqual(BOUND, {
      compatibilityDate: config.compatibility_date,
      compatibilityFlags: config.compatibility_flags,
      d1Databases: config.d1_databases.map(({ binding }) => binding),
      durableObjects: pairs(config.durable_objects.bindings, ({ name, class_name: className }) => {
        return [name, { className, useSQLite: sqlite.includes(className) }];
      }),
      kvNamespaces: config.kv_namespaces.map(({ binding }) => binding),
      queueProducers: pairs(config.queues.producers, ({ binding, queue }) => [binding, queue]),
      queueConsumers: pairs(config.queues.consumers, ({ queue, max_batch_size: maxBatchSize, dead_letter_queue }) => {
        return [queue, { maxBatchSize, ...(dead_letter_queue && { deadLetterQueue: dead_letter_queue }) }];
      }),
      versionMetadata: config.version_metadata.binding,
    });
    assert.deepEqual(config.triggers.crons, ['* * * * *']);
  });
});
