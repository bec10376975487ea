// The gateway as its operator and its callers reach it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export const SECRETS = {
  HYPERGATE_SECRET: 'a secret that is long enough to be one',
  ADMIN_TOKEN: 'admin-token',
  TICK_TOKEN: 'tick-token',
};

/** The admin API. Answers other than 2xx are errors, unless `refused` is asked for them. */
export function operator(url) {
  const ask = async (method, path, body, token = SECRETS.ADMIN_TOKEN) => {
    const answer = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${token}` },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const admin = async (method, path, body) => {
    const answer = await ask(method, `/admin/v1${path}`, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  return {
    admin,
    refused: (method, path, body, token) => ask(method, `/admin/v1${path}`, body, token),
    tick: (token = SECRETS.TICK_TOKEN) => ask('POST', '/internal/tick', undefined, token),
    tenant: (name, settings) => admin('POST', '/tenants', { name, ...settings }),
    key: (tenant, settings) => admin('POST', `/tenants/${tenant.id}/keys`, { name: 'test', ...settings }),
    alias: (tenant, name, targets) => admin('PUT', `/tenants/${tenant.id}/aliases/${name}`, { targets }),
    rule: (id, settings) => admin('PUT', `/rules/${id}`, settings),
    receiver: (settings) => admin('POST', '/receivers', { name: 'team', kind: 'webhook', ...settings }),
    record: async (id) => {
      const { status, body } = await ask('GET', `/admin/v1/calls/${id}`);
      return status === 200 ? body : undefined;
    },
    /** Every call that matches, page by page. */
    async calls(filter) {
      const found = [];
      for (let cursor = ''; cursor !== null; ) {
        const query = new URLSearchParams({ ...filter, limit: '50', cursor });
        const { data, next_cursor } = await admin('GET', `/calls?${query}`);
        found.push(...data);
        cursor = next_cursor;
      }
      return found;
    },
  };
}

/** A caller with this key. Each call it makes goes through `made`. */
export function caller(url, key, made = () => {}) {
  /** Sends a body as it is and reads the answer whole, however it comes. */
  const send = async (body, { headers } = {}) => {
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      body,
      // For a body that is a stream.
      duplex: 'half',
    });
    const id = answer.headers.get('x-hypergate-call-id');
    made({ id, status: answer.status });
    const text = await answer.text();
    const streamed = answer.headers.get('content-type').startsWith('text/event-stream');
    const said = streamed ? read(text) : { body: JSON.parse(text) };
    return { status: answer.status, headers: answer.headers, id, text, ...said };
  };
  const chat = (model, words, more, options) => send(JSON.stringify({ model, messages: say(words), ...more }), options);
  return {
    send,
    chat,
    stream: (model, words, more, options) => chat(model, words, { stream: true, ...more }, options),
    /** Begins to send a form; what comes of it is for `answer`. */
    begin(path, headers = {}) {
      const sending = request(url + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': `multipart/form-data; boundary=${BOUNDARY}`, ...headers },
      });
      const answer = new Promise((resolve, reject) => {
        sending.on('error', reject);
        sending.on('response', async (response) => {
          const id = response.headers['x-hypergate-call-id'];
          made({ id, status: response.statusCode });
          const chunks = [];
          for await (const chunk of response) chunks.push(chunk);
          const text = String(Buffer.concat(chunks));
          const isJson = response.headers['content-type'].startsWith('application/json');
          resolve({ id, status: response.statusCode, headers: response.headers, text, body: isJson && JSON.parse(text) });
        });
      });
      // Whoever leaves does not look at it.
      answer.catch(() => {});
      return { sending, answer };
    },
    /** Asks for something without a body. */
    async get(path, method = 'GET') {
      return fetch(url + path, { method, headers: { authorization: `Bearer ${key}` } });
    },
    /** Asks for a whole answer and is gone before it comes. */
    async leaveEarly(model) {
      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      const body = JSON.stringify({ model, messages: say('hello') });
      const head = [`POST /v1/chat/completions HTTP/1.1`, `host: ${hostname}`, `authorization: Bearer ${key}`];
      socket.write([...head, `content-length: ${body.length}`, '', body].join('\r\n'));
      await sleep(500);
      // A closed connection alone is not noticed by a local runtime; a broken one is.
      socket.resetAndDestroy();
    },
    /** Begins a stream, leaves after the first chunk, and returns the call's id. */
    async leave(model, words) {
      const control = new AbortController();
      const answer = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}` },
        body: JSON.stringify({ model, messages: say(words), stream: true }),
        signal: control.signal,
      });
      const id = answer.headers.get('x-hypergate-call-id');
      made({ id, status: answer.status });
      await answer.body.getReader().read();
      control.abort();
      return id;
    },
  };
}

const BOUNDARY = 'XyZ';

/** A form with these fields; `file` is one. */
export function form(fields) {
  const parts = Object.entries(fields).map(([name, value]) => {
    const file = name === 'file' ? '; filename="a.bin"\r\nContent-Type: application/octet-stream' : '';
    return `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n${value}\r\n`;
  });
  return `${parts.join('')}--${BOUNDARY}--\r\n`;
}

export function say(words) {
  return [{ role: 'user', content: words }];
}

/** A streamed answer: its chunks, what they say together, and how it ends. */
function read(text) {
  const events = text.split('\n\n').filter(Boolean).map((event) => event.replace(/^data: /, ''));
  const done = events.at(-1) === '[DONE]';
  const chunks = events.slice(0, done ? -1 : undefined).map((event) => JSON.parse(event));
  const choices = chunks.flatMap((chunk) => chunk.choices ?? []);
  const tools = [];
  for (const { index, id, function: part } of choices.flatMap((choice) => choice.delta.tool_calls ?? [])) {
    tools[index] ??= { id, name: part.name, arguments: '' };
    tools[index].arguments += part.arguments ?? '';
  }
  return {
    chunks,
    done,
    tools,
    said: choices.map((choice) => choice.delta.content ?? '').join(''),
    finish: choices.map((choice) => choice.finish_reason).find(Boolean),
    usage: chunks.filter((chunk) => chunk.usage),
    error: chunks.find((chunk) => chunk.error)?.error,
  };
}
