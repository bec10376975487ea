// Waiting for what happens a moment later.

import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');

/** Asks again until the answer is something, and returns it. */
export async function until(what, ask, patience_ms = 15_000, pause_ms = 100) {
  const deadline = Date.now() + patience_ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${patience_ms} ms in vain for ${what}`);
    await sleep(pause_ms);
  }
}

/** Listens on a free port of this machine and returns the address. */
export function listen(server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}
