// The Worker's second tick: an alarm of its own, once cron has struck.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';

import { until } from './lib/wait.mjs';
import { startWorkers } from './lib/workers.mjs';

const MINUTE_MS = 60_000;

describe('the alarm beside cron', () => {
  let host;
  before(async () => {
    const settings = { HYPERGATE_SECRET: 'long enough for a test, and good for nothing else', ADMIN_TOKEN: 'admin' };
    host = await startWorkers(settings, { hasClock: true });
  });
  after(() => host?.stop());
  afterEach((test) => {
    if (test.passed === false) test.diagnostic(`the host said: ${host.log.join('').slice(-2_000)}`);
  });

  it('ticks without cron, minute after minute', async () => {
    const ticks = async () => (await host.sql(`SELECT claimed_ms FROM schedule WHERE name = 'tick'`))[0]?.claimed_ms;
    assert.ok(!(await ticks()));
    await host.strike();
    const first_ms = await ticks();
    assert.ok(first_ms > 0);
    for (const minutes of [1, 2]) {
      await until(`tick ${minutes}`, async () => (await ticks()) >= first_ms + minutes * MINUTE_MS, 2 * MINUTE_MS);
    }
  });
});
