// What a newcomer does first: `cargo xtask dev`, the lines it prints, Ctrl-C.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { promisify } from 'node:util';

import { ROOT, listen, until } from './lib/wait.mjs';

const PATIENCE_MS = 4 * 60_000;

export function dev(host) {
  describe(`cargo xtask dev --host ${host}`, () => {
    let child, port, state;
    let said = '';
    let page;
    /** The lines to paste, in the order in which they are printed. */
    let lines;

    before(async () => {
      state = mkdtempSync(path.join(tmpdir(), 'hypergate-dev-'));
      port = await twoFreePorts();
      const xtask = process.env.HYPERGATE_XTASK ?? path.join(ROOT, 'target/debug/xtask');
      child = spawn(xtask, ['dev', '--host', host, '--port', String(port), '--state', state], {
        cwd: ROOT,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text));
      await until('the guide', () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${said}`);
        return said.includes('Ctrl-C ends everything.');
      }, PATIENCE_MS);
      lines = said.split('\n\n').filter((part) => part.startsWith('  ') && /\b(curl|for)\b/.test(part));
      page = said.match(/an alert arrives at (\S+) within/)[1];
    });
    after(async () => {
      if (child && child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
      if (state) rmSync(state, { recursive: true, force: true });
    });
    afterEach((test) => {
      if (test.passed === false) test.diagnostic(`it said: …${said.slice(-3_000)}`);
    });

    it('prints three lines to paste', () => assert.equal(lines.length, 3, said));

    it('streams a first answer', async () => {
      const events = (await paste(lines[0])).split('\n\n').filter(Boolean).map((event) => event.replace(/^data: /, ''));
      assert.equal(events.pop(), '[DONE]');
      const pieces = events.flatMap((event) => JSON.parse(event).choices.map(({ delta }) => delta.content ?? ''));
      assert.equal(pieces.join(''), 'Hello from the edge');
      assert.ok(pieces.filter(Boolean).length > 1, 'not all at once');
    });

    it('lets calls fail', async () => {
      assert.equal((await paste(lines[1])).trim(), Array(10).fill('502').join(' '));
    });

    it('counts both', async () => {
      const counted = async () => {
        const { data } = JSON.parse(await paste(lines[2]));
        const calls = (model, outcome) =>
          data.filter((row) => row.model === model && row.outcome === outcome).reduce((sum, row) => sum + row.calls, 0);
        return [calls('echo', 'ok'), calls('fail', 'error')];
      };
      await until('eleven calls in the rollups', async () => String(await counted()) === '1,10', PATIENCE_MS);
    });

    it('alerts a chat and a webhook', async () => {
      assert.match(await (await fetch(page)).text(), /<html/);
      const arrived = async (to) => {
        const { notices } = await (await fetch(`${page}/notices`)).json();
        return notices.find((notice) => notice.to === to);
      };
      const chat = await until('the notice in the chat', () => arrived('slack'), PATIENCE_MS);
      assert.equal(chat.answered, '200');
      // As Slack's incoming webhooks take it.
      const { text, attachments: [{ blocks }] } = chat.body;
      assert.match(text, /^\[FIRING .*5xx share/);
      assert.deepEqual([blocks[0].type, blocks[0].text.type], ['header', 'plain_text']);
      const hook = await until('the notice at the webhook', () => arrived('webhook'), PATIENCE_MS);
      assert.deepEqual([hook.body.type, hook.body.data.rule_id], ['alert.firing', 'error-share']);
      assert.match(hook.headers['webhook-signature'], /^v1,/);
    });

    it('ends with Ctrl-C and leaves nothing running', async () => {
      const started = descendants(child.pid);
      child.kill('SIGINT');
      const [code] = await once(child, 'exit');
      assert.equal(code, 0);
      assert.match(said, /Ending\./);
      await until('its children to end', () => !started.some(isAlive));
      for (const url of [`http://127.0.0.1:${port}`, page]) await assert.rejects(fetch(url), `${url} is still served`);
    });
  });
}

/** Runs a line as a shell would that it was pasted into. */
async function paste(line) {
  return (await promisify(execFile)('sh', ['-c', line])).stdout;
}

/** A port that is free, and so is the next. */
async function twoFreePorts() {
  for (;;) {
    const server = createServer();
    const first = Number(new URL(await listen(server)).port);
    const next = createServer();
    const isFree = await new Promise((resolve) => {
      next.once('error', () => resolve(false));
      next.listen(first + 1, '127.0.0.1', () => resolve(true));
    });
    for (const one of [server, next]) if (one.listening) await new Promise((resolve) => one.close(resolve));
    if (isFree) return first;
  }
}

/** The processes a process has started, and those have, where the system tells. */
function descendants(pid) {
  const file = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(file)) return [];
  const children = readFileSync(file, 'utf8').split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function isAlive(pid) {
  try {
    // Who has ended and was not asked for is a zombie.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
