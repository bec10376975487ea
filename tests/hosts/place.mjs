// What only Cloudflare tells a call: where it is served, and by which deployed version.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { SECRETS, caller, operator } from './lib/gateway.mjs';
import { until } from './lib/wait.mjs';
import { startWorkers } from './lib/workers.mjs';

describe('a record on Cloudflare', () => {
  let host, op, ann;
  before(async () => {
    host = await startWorkers(SECRETS);
    op = operator(host.url);
    ann = caller(host.url, (await op.key(await op.tenant('placed'))).key);
  });
  after(() => host?.stop());

  const recorded = async ({ id }) => until('the record', () => op.record(id));

  it('names the data centre and the version', async () => {
    // The local runtime takes what Cloudflare knows of a request from this header.
    const headers = { 'mf-cf-blob': JSON.stringify({ colo: 'ZRH' }) };
    const { release } = await (await fetch(`${host.url}/healthz`)).json();
    assert.match(release, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    for (const stream of [false, true]) {
      const record = await recorded(await ann.chat('demo/echo', 'hello', { stream }, { headers }));
      assert.deepEqual([record.region, record.release], ['ZRH', release]);
    }
    const refused = await recorded(await ann.chat('nobody/nothing', 'hello', {}, { headers }));
    assert.deepEqual([refused.outcome, refused.region, refused.release], ['client_error', 'ZRH', release]);
  });

  it('names no data centre where none is known', async () => {
    assert.equal((await recorded(await ann.chat('demo/echo', 'hello'))).region, null);
  });
});
