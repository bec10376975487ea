// What `cloudflare.js` does by itself, without the runtime: the pump, the sizes of answers, the codes of sockets.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

import { until } from './lib/wait.mjs';

globalThis.WebSocket ??= class {};
globalThis.IdentityTransformStream = TransformStream;
const { fetchUpstream, sendable, stream } = await import('../../functions/src/host/cloudflare.js');

const bytes = (text) => new TextEncoder().encode(text);

/** A stream of these chunks, which ends or goes on in silence. The tap passes `=…` as it is and swallows `-`. */
function pumped(chunks, { overAfter, silent = false } = {}) {
  const log = [];
  const rest = [...chunks];
  const reader = {
    async read() {
      if (rest.length > 0) return { done: false, value: bytes(rest.shift()) };
      return silent ? new Promise(() => {}) : { done: true };
    },
    async cancel() {
      log.push('cancelled');
    },
  };
  const tap = {
    chunk(chunk) {
      const text = new TextDecoder().decode(chunk);
      log.push(text);
      return text.startsWith('=') ? undefined : bytes(text === '-' ? '' : text.toUpperCase());
    },
    isOver: () => log.at(-1) === overAfter,
    end(reason) {
      log.push(`ended ${reason}`);
      return bytes('.');
    },
    hangUp: () => log.push('hung up'),
    free: () => log.push('freed'),
  };
  const context = { waitUntil: (promise) => promise.then(() => log.push('finished')) };
  const answer = stream(context, 200, 'content-type:text/event-stream', bytes('['), reader, tap, 60_000, undefined);
  return { answer, log };
}

describe('the pump', () => {
  it('sends what the tap says, and all of it', async () => {
    const { answer, log } = pumped(['a', '=b', '-', 'c']);
    assert.equal(await answer.text(), '[A=bC.');
    assert.deepEqual(log.slice(4, 6), ['ended ', 'freed']);
  });

  for (const [last, text] of [['fail', '[AFAIL.'], ['-', '[A.']]) {
    it(`ends a stream of which nothing more will be sent, after ${last}`, async () => {
      const { answer, log } = pumped(['a', last, 'never'], { overAfter: last, silent: true });
      assert.equal(await answer.text(), text);
      assert.deepEqual(log.slice(2, 5), ['cancelled', 'ended ', 'freed']);
    });
  }

  it('knows a caller that left from a provider that failed', async () => {
    const { answer, log } = pumped(Array(50).fill('a'));
    const reader = answer.body.getReader();
    await reader.read();
    await reader.cancel();
    await until('the record', () => log.includes('freed'));
    await sleep(20);
    assert.deepEqual(log.filter((word) => word.startsWith('ended') || word === 'hung up'), ['hung up']);
  });
});

describe('an answer that comes packed', () => {
  it('is as large as it is unpacked, whatever length it tells', async () => {
    const packed = gzipSync(Buffer.alloc(1 << 20));
    const server = createServer((_, answer) => {
      answer.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length });
      answer.end(packed);
    });
    await new Promise((resolve) => server.listen(0, resolve));
    const url = `http://127.0.0.1:${server.address().port}/`;
    const ask = (maxBytes) => fetchUpstream('GET', url, '', new Uint8Array(0), 5_000, maxBytes, false, undefined);
    await assert.rejects(ask(100_000), (reason) => reason === 'too large');
    const [, body] = await ask(2 << 20);
    assert.equal(body.length, 1 << 20);
    server.closeAllConnections();
    server.close();
  });
});

describe('the code a socket was closed with', () => {
  it('is passed on where it may be', () => {
    const codes = [1000, 1001, 1004, 1005, 1006, 1015, 0, 4999, 5000, undefined];
    assert.deepEqual(codes.map(sendable), [1000, 1001, 1011, 1000, 1011, 1011, 1011, 4999, 1011, 1011]);
  });
});
