// Spin, or the test host that stands in for it, with spin.toml as it is.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { ROOT, listen, until } from './wait.mjs';

const HOST = process.env.HYPERGATE_SPIN_HOST ?? path.join(ROOT, 'target/debug/spin-host');

/** Whether this is Spin itself, whose clock nobody can set. */
export const IS_REAL_SPIN = path.parse(HOST).name === 'spin';

/**
 * Starts the built components with these settings on an empty state directory, or on `state`, which stays. With `clock`
 * their time is what that file says.
 */
export async function startSpin(settings, { state: kept, clock } = {}) {
  const state = kept ?? mkdtempSync(path.join(tmpdir(), 'hypergate-spin-'));
  const variables = Object.entries(settings).map(([name, value]) => [`SPIN_VARIABLE_${name}`, value]);
  const address = `127.0.0.1:${IS_REAL_SPIN ? await freePort() : 0}`;
  const words = ['--from', path.join(ROOT, 'spin.toml'), '--state-dir', state, '--listen', address];
  if (clock) words.push('--clock', clock);
  const child = spawn(HOST, IS_REAL_SPIN ? ['up', ...words] : words, {
    cwd: ROOT,
    env: { ...process.env, ...Object.fromEntries(variables) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = () => child.kill();
  process.once('exit', kill);
  const log = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => log.push(String(text)));
  // Compiling the components takes a while the first time.
  const url = await until('Spin to serve', () => {
    if (child.exitCode !== null) throw new Error(`Spin ended with ${child.exitCode}:\n${log.join('')}`);
    return log.join('').match(/Serving (http:\/\/[\d.:]+)/)?.[1];
  }, 180_000);
  let database;
  return {
    url,
    log,
    /** Takes it away in the middle of what it does. */
    async kill() {
      process.removeListener('exit', kill);
      database?.close();
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
    /** Reads and writes the database beside the gateway. SQLite locks the file between the two processes. */
    async sql(text, ...params) {
      database ??= new DatabaseSync(path.join(state, 'sqlite_db.db'), { timeout: 5_000 });
      return database.prepare(text).all(...params);
    },
    /** What strikes every minute: any scheduler, through the tick route. */
    async strike() {
      const answer = await fetch(`${url}/internal/tick`, {
        method: 'POST',
        headers: { authorization: `Bearer ${settings.TICK_TOKEN}` },
      });
      if (!answer.ok) throw new Error(`the tick ended with ${answer.status}: ${await answer.text()}`);
    },
    async stop() {
      process.removeListener('exit', kill);
      database?.close();
      if (child.exitCode === null && child.signalCode === null) {
        kill();
        await once(child, 'exit');
      }
      if (!kept) rmSync(state, { recursive: true, force: true });
    },
  };
}

/** A port nobody listens on, for `spin up`, which does not look for one itself. */
async function freePort() {
  const server = createServer();
  const { port } = new URL(await listen(server));
  await new Promise((resolve) => server.close(resolve));
  return port;
}
