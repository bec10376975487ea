// The Workers runtime, one fat call per IO step: every value that crosses between JavaScript and Wasm
// costs more than most of what the gateway does with it. Nothing here knows what the product is.

const settled = Promise.resolve();
// Every step of a Rust future is queued with this. The runtime's own makes a function template each time,
// which takes as long as all of the call's Wasm together.
globalThis.queueMicrotask = (step) => {
  settled.then(() => {
    try {
      step();
    } catch (error) {
      // As the runtime's own would: what listens for errors hears of it.
      reportError(error);
    }
  });
};

/** A line for each header. Going through them by callback makes no garbage on the way. */
function headerLines(headers) {
  let lines = '';
  headers.forEach((value, name) => {
    lines += `\n${name}:${value}`;
  });
  return lines;
}

/** Lines as an object: the runtime reads one faster than a list of pairs. No name is there twice. */
function headerObject(lines) {
  const headers = {};
  if (lines === '') return headers;
  for (const line of lines.split('\n')) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon)] = line.slice(colon + 1);
  }
  return headers;
}

const EMPTY = new Uint8Array(0);

/**
 * Three values: the body's state (whole, too large, broken or unread), method, path, data centre and country, and
 * headers; the body; the reader of one that is not read, because it is made of files.
 */
export async function readRequest(request, maxBytes) {
  let state = 'ok';
  let body = EMPTY;
  let reader;
  if (request.body !== null && FORM.test(request.headers.get('content-type'))) {
    state = 'unread';
    reader = request.body.getReader();
  } else if (request.body !== null) {
    try {
      body = await readAll(request, maxBytes);
    } catch (error) {
      state = error === TOO_LARGE ? 'large' : 'broken';
    }
  }
  const { url } = request;
  const path = url.slice(url.indexOf('/', url.indexOf('://') + 3));
  const place = `${request.cf?.colo ?? ''} ${request.cf?.country ?? ''}`;
  const head = `${state}\n${request.method}\n${path}\n${place}${headerLines(request.headers)}`;
  return [head, body, reader];
}

const FORM = /^\s*multipart\//i;
const TOO_LARGE = 'too large';
const TIMEOUT = 'timeout';
const HUNG_UP = 'hung up';
const BROKEN = 'broken';
const REFUSED = 'refused';
const SILENT = 'silent';

async function readAll(message, maxBytes) {
  const length = message.headers.get('content-length');
  // What the runtime unpacks may be of any size, whatever its sender says.
  if (length !== null && !message.headers.has('content-encoding')) {
    if (Number(length) > maxBytes) {
      await message.body.cancel();
      throw TOO_LARGE;
    }
    return new Uint8Array(await message.arrayBuffer());
  }
  const chunks = [];
  let size = 0;
  const reader = message.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > maxBytes) {
      await reader.cancel();
      throw TOO_LARGE;
    }
    chunks.push(value);
  }
  if (chunks.length === 1) return chunks[0];
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** A whole answer. */
export function respond(status, headers, body) {
  // The bytes are a view into memory that moves.
  return new Response(status === 204 || status === 304 ? null : body.slice(), { status, headers: headerObject(headers) });
}

/**
 * One request, one answer: status, head's time and headers; the body; the reader of what is left, where the
 * answer is a stream of events or `anyStream` is wanted. Rejects with one of the words above, or with the runtime's own error.
 */
export function fetchUpstream(method, url, headers, body, firstByteMs, maxBytes, anyStream, signal) {
  // The bytes are a view into memory that moves.
  const whole = body.length === 0 ? undefined : body.slice();
  return exchange(method, url, headerObject(headers), whole, firstByteMs, maxBytes, anyStream, signal);
}

/**
 * The same, with what the caller has yet to send behind the body, as the passage lets it through: nothing said
 * means the very chunk it was shown.
 */
export function forwardUpstream(
  method,
  url,
  headers,
  held,
  reader,
  passage,
  idleMs,
  firstByteMs,
  maxBytes,
  anyStream,
  signal,
) {
  const { 'content-length': length, ...others } = headerObject(headers);
  const pipe = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
  const writer = pipe.writable.getWriter();
  const opening = held.slice();
  let over = false;
  const send = async (stop, within) => {
    const write = async (chunk) => {
      if (chunk.length === 0) return;
      within(idleMs);
      await writer.write(chunk);
    };
    try {
      await write(opening);
      for (;;) {
        within(2 * idleMs);
        const chunk = await receive(reader, idleMs);
        if (over) return;
        let instead;
        try {
          instead = chunk === undefined ? passage.end() : passage.chunk(chunk);
        } catch {
          return stop(REFUSED);
        }
        await write(instead ?? chunk);
        if (chunk === undefined) return await writer.close();
      }
    } catch (error) {
      // That the upstream takes no more is told better by its answer.
      if (!over && (error === BROKEN || error === SILENT)) stop(error);
    } finally {
      within(firstByteMs);
      passage.free();
    }
  };
  const leave = () => {
    over = true;
    cancel(reader);
    // Ends a write nobody takes.
    writer.abort().catch(() => {});
  };
  return exchange(method, url, others, pipe.readable, firstByteMs, maxBytes, anyStream, signal, { send, leave });
}

/** The next chunk of what a caller sends; nothing at the end. */
export async function receive(reader, idleMs) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(reject, idleMs, SILENT);
  });
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), silence]);
      if (done) return undefined;
      if (value.length > 0) return value;
    }
  } catch (error) {
    throw error === SILENT ? SILENT : BROKEN;
  } finally {
    clearTimeout(timer);
  }
}

async function exchange(method, url, headers, body, firstByteMs, maxBytes, anyStream, signal, upload) {
  const abort = new AbortController();
  let reason;
  const stop = (why) => {
    reason ??= why;
    abort.abort();
  };
  let timer = setTimeout(stop, firstByteMs, TIMEOUT);
  let settled = false;
  const within = (ms) => {
    clearTimeout(timer);
    if (!settled) timer = setTimeout(stop, ms, TIMEOUT);
  };
  const hangUp = () => stop(HUNG_UP);
  signal?.addEventListener('abort', hangUp);
  if (signal?.aborted) hangUp();
  try {
    const sent = upload?.send(stop, within);
    const response = await fetch(url, { method, headers, body, redirect: 'manual', signal: abort.signal });
    if (upload !== undefined) {
      if (!response.ok) upload.leave();
      await sent;
      // A good answer to half of a request is none.
      if (reason !== undefined) throw reason;
    }
    const head = `${response.status}\n${Date.now()}${headerLines(response.headers)}`;
    if (response.webSocket) return [head, EMPTY, response.webSocket];
    const type = (response.headers.get('content-type') ?? '').toLowerCase();
    const isStream = anyStream || STREAMS.some((stream) => type.startsWith(stream));
    if (response.ok && isStream && response.body !== null) {
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || value.length > 0) return [head, value ?? EMPTY, reader];
      }
    }
    return [head, response.body === null ? EMPTY : await readAll(response, maxBytes)];
  } catch (error) {
    throw reason ?? (error === TOO_LARGE ? error : String(error));
  } finally {
    settled = true;
    clearTimeout(timer);
    upload?.leave();
    signal?.removeEventListener('abort', hangUp);
  }
}

/** The media types of answers that come bit by bit. */
const STREAMS = ['text/event-stream', 'application/vnd.amazon.eventstream', 'application/x-ndjson'];

/** Gives an upstream up, or a socket nobody has listened to. */
export function cancel(reader) {
  if (reader instanceof WebSocket) {
    reader.accept();
    reader.close();
  } else {
    reader.cancel().catch(() => {});
  }
}

/**
 * A conversation: passes each message on as it comes, both ways, until one side ends it or both are silent for too
 * long. The tap is shown what the upstream says with one of the words in it, and, before it goes on, what the caller
 * says that fits the pattern or is no text.
 */
export function converse(context, headers, upstream, tap, words, pattern, idleMs, longestMs) {
  const { 0: theirs, 1: caller } = new WebSocketPair();
  const telling = words.split('\n');
  const naming = new RegExp(pattern, 'i');
  const encoder = new TextEncoder();
  let finish;
  context.waitUntil(new Promise((resolve) => (finish = resolve)));
  const began = Date.now();
  let heard = began;
  let timer;
  let over = false;
  const end = (call, code, reason) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    for (const side of [caller, upstream]) {
      try {
        side.close(sendable(code), reason);
      } catch {
        // It is closed.
      }
    }
    try {
      call();
    } finally {
      finish();
      tap.free();
    }
  };
  const isGood = (code) => code === 1000 || code === 1001 || code === 1005;
  const leave = (code, reason) => end(() => (isGood(code) ? tap.end('') : tap.hangUp()), code, reason);
  const fail = (code, reason) => end(() => tap.end(isGood(code) ? '' : `closed with ${code}`), code, reason);
  const send = (to, data) => {
    try {
      to.send(data);
    } catch {
      // The side that is gone says so itself.
    }
  };
  const fromUpstream = (data) => {
    send(caller, data);
    if (typeof data === 'string' && telling.some((word) => data.includes(word))) tap.chunk(encoder.encode(data));
  };
  const fromCaller = (data) => {
    const isText = typeof data === 'string';
    if (isText && !naming.test(data)) return send(upstream, data);
    let instead;
    try {
      instead = tap.said(isText ? encoder.encode(data) : new Uint8Array(data));
    } catch (answer) {
      return send(caller, String(answer));
    }
    send(upstream, instead ?? data);
  };
  const pass = (from, go, lost) => {
    from.binaryType = 'arraybuffer';
    from.accept();
    from.addEventListener('message', ({ data }) => {
      if (over) return;
      heard = Date.now();
      go(data);
    });
    from.addEventListener('close', ({ code, reason }) => lost(code, reason));
    from.addEventListener('error', () => lost(1006, ''));
  };
  const watch = () => {
    const left = Math.min(heard + idleMs, began + longestMs) - Date.now();
    if (left > 0) {
      timer = setTimeout(watch, left);
    } else {
      end(() => tap.end(''), 1008, 'The session was silent or open for too long.');
    }
  };
  watch();
  pass(caller, fromCaller, leave);
  pass(upstream, fromUpstream, fail);
  return new Response(null, { status: 101, webSocket: theirs, headers: headerObject(headers) });
}

/** Of the codes a socket may have been closed with, those that say that there was none may not be sent. */
export function sendable(code) {
  if (code === 1005) return 1000;
  return code >= 1000 && code < 5000 && ![1004, 1006, 1015].includes(code) ? code : 1011;
}

/** A reader of chunks made here, one every `gapMs`. */
export function scripted(chunks, gapMs) {
  let at = 0;
  return {
    async read() {
      if (at === chunks.length) return { done: true };
      await sleep(gapMs);
      return { done: false, value: chunks[at++] };
    },
    async cancel() {
      at = chunks.length;
    },
  };
}

/**
 * A streamed answer: pumps the reader through the tap until one of the three parties ends it. The tap
 * says what to send: nothing said means the very chunk it was shown.
 */
export function stream(context, status, headers, opening, reader, tap, idleMs, signal) {
  // The bytes are a view into memory that moves.
  const first = opening.slice();
  let finish;
  // Keeps the call alive past a hang-up, until its record is on its way.
  context.waitUntil(new Promise((resolve) => (finish = resolve)));
  let over = false;
  const end = (call) => {
    if (over) return undefined;
    over = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', hangUp);
    try {
      return call();
    } finally {
      finish();
      tap.free();
    }
  };
  const hangUp = () => {
    end(() => tap.hangUp());
    cancel(reader);
  };
  signal?.addEventListener('abort', hangUp);

  // One timer for the whole stream, moved only when it goes off: chunks are many, silences few. Only the
  // time a read is waited for is silence; a slow caller is not the upstream's fault.
  let waitingSince = Infinity;
  let silent = false;
  const watch = () => {
    const left = waitingSince === Infinity ? idleMs : waitingSince + idleMs - Date.now();
    if (left > 0) {
      timer = setTimeout(watch, left);
    } else {
      silent = true;
      // Ends the read that is waited for.
      cancel(reader);
    }
  };
  let timer = setTimeout(watch, idleMs);
  if (signal?.aborted) hangUp();

  // A pipe costs the runtime less for each chunk than a stream that is asked for them. A write fails where the
  // caller is gone.
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const pump = async () => {
    let sent = first;
    let ending;
    for (;;) {
      if (sent.length > 0) await writer.write(sent);
      if (over) return;
      if (ending !== undefined) break;
      sent = EMPTY;
      try {
        waitingSince = Date.now();
        const { done, value } = await reader.read();
        waitingSince = Infinity;
        if (over) return;
        if (silent) {
          ending = TIMEOUT;
        } else if (done) {
          ending = '';
        } else {
          const instead = tap.chunk(value);
          sent = instead ?? value;
          // What passes as it is does not end here.
          if (instead !== undefined && tap.isOver()) {
            ending = '';
            cancel(reader);
          }
        }
      } catch (error) {
        if (over) return;
        ending = silent ? TIMEOUT : String(error);
      }
    }
    const tail = end(() => tap.end(ending));
    if (tail === undefined) {
      await writer.abort(new Error('the answer is not whole'));
      return;
    }
    if (tail.length > 0) await writer.write(tail);
    await writer.close();
  };
  pump().catch(hangUp);
  return new Response(readable, { status, headers: headerObject(headers) });
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function randomBytes(count) {
  return crypto.getRandomValues(new Uint8Array(count));
}

/** RSA with SHA-256 and the padding of PKCS #1 v1.5. */
export async function signRs256(pkcs8, message) {
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const [key, text] = [pkcs8.slice(), message.slice()];
  const imported = await crypto.subtle.importKey('pkcs8', key, algorithm, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign(algorithm, imported, text));
}

/** A text binding or secret. */
export function setting(env, name) {
  const value = env[name];
  return typeof value === 'string' ? value : undefined;
}

/** The id of the deployed version, where the binding for it is there. */
export function versionId(env) {
  return env.CF_VERSION_METADATA?.id || undefined;
}

/** Statements in, each a list of its SQL and its parameters; the rows of each out as JSON. */
export async function databaseBatch(env, statements) {
  const prepared = statements.map(([sql, ...params]) => env.DB.prepare(sql).bind(...params));
  const results = prepared.length === 1 ? [await prepared[0].all()] : await env.DB.batch(prepared);
  return JSON.stringify(results.map((result) => result.results ?? []));
}

/** How many bytes the database has. Its own functions for that may not be called. */
export async function databaseSize(env) {
  return (await env.DB.prepare('SELECT 1').run()).meta.size_after;
}

export async function keyValueGet(env, key) {
  const value = await env.KV.get(key, 'arrayBuffer');
  return value === null ? undefined : new Uint8Array(value);
}

export async function keyValuePut(env, key, value, expiresMs) {
  // KV keeps nothing for less than a minute.
  const expirationTtl = Math.max(60, Math.ceil((expiresMs - Date.now()) / 1000));
  await env.KV.put(key, value.slice(), { expirationTtl });
}

export async function keyValueDelete(env, key) {
  await env.KV.delete(key);
}

export async function queueSend(env, messages) {
  for (const message of messages) await env.JOURNAL.send(message, { contentType: 'text' });
}
