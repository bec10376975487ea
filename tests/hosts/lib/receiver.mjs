// A receiver of webhooks that has a bad start: it answers 500 as often as it is told to, then accepts.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

import { listen } from './wait.mjs';

/** Starts a receiver. What it heard is in `heard`, refused or not. */
export async function startReceiver() {
  const heard = [];
  let refusals = 0;
  const server = createServer(async (request, answer) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const status = refusals > 0 ? 500 : 200;
    if (refusals > 0) refusals -= 1;
    const body = Buffer.concat(chunks);
    heard.push({ id: request.headers['webhook-id'], headers: request.headers, body, event: JSON.parse(body), status });
    answer.writeHead(status).end();
  });
  const url = await listen(server);
  return {
    url,
    heard,
    /** Answers the next so many requests with 500. */
    refuse(times) {
      refusals = times;
    },
    stop: () => close(server),
  };
}

/** Whether a request carries the signature of Standard Webhooks 1.0, made lately with this secret. */
export function isSigned({ headers, body }, secret, now_ms = Date.now()) {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures = '' } = headers;
  if (!id || Math.abs(now_ms / 1000 - Number(timestamp)) > 300) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  return signatures.split(' ').some((signature) => {
    const [version, text = ''] = signature.split(',');
    const given = Buffer.from(text, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

/** Closes a server and what is still connected to it. */
export function close(server) {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
}
