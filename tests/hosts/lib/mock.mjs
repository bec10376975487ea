// The providers: aimock for what it can answer, in each protocol, and an upstream of our own for how a
// provider should not answer.

import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

import { LLMock } from '@copilotkit/aimock';

import { close } from './receiver.mjs';
import { listen } from './wait.mjs';

/** A word in the last message chooses the answer; the address chooses the protocol. */
export async function startMock() {
  const mock = new LLMock({ port: 0, logLevel: 'silent' });
  for (const [userMessage, response, options] of FIXTURES) {
    const { match, ...pace } = options ?? {};
    mock.on({ userMessage, ...match }, response, pace);
  }
  mock.onTranscription({ transcription: { text: WORDS, language: 'english', duration: 2.5 } });
  mock.onTranslation({ transcription: { text: WORDS, language: 'english', duration: 2.5 } });
  mock.onImage('greet', { image: { b64Json: 'AA==' } });
  mock.onRerank('greet', [
    { index: 1, relevance_score: 0.9 },
    { index: 0, relevance_score: 0.1 },
  ]);
  mock.onImage('draw', { image: { b64Json: 'AAAA' } });
  mock.onSpeech('say', { audio: SOUND.toString('base64'), format: 'mp3' });
  await mock.start();
  const bedrock = await startBedrock(mock.url);
  return {
    url: mock.url,
    /** The settings that lead a gateway here. */
    settings: {
      OPENAI_API_KEY: 'sk-openai',
      OPENAI_BASE_URL: `${mock.url}/v1`,
      ANTHROPIC_API_KEY: 'sk-anthropic',
      ANTHROPIC_BASE_URL: mock.url,
      GEMINI_API_KEY: 'sk-gemini',
      GEMINI_BASE_URL: mock.url,
      COHERE_API_KEY: 'sk-cohere',
      COHERE_BASE_URL: mock.url,
      BEDROCK_API_KEY: 'sk-bedrock',
      BEDROCK_BASE_URL: bedrock.url,
      VOYAGE_API_KEY: 'sk-voyage',
      VOYAGE_BASE_URL: `${mock.url}/v1`,
      OPENROUTER_API_KEY: 'sk-openrouter',
      OPENROUTER_BASE_URL: `${mock.url}/api/v1`,
    },
    /** What it was asked with this word in a message, in order. */
    asked(word) {
      return mock.getRequests().filter(({ body }) => JSON.stringify(body?.messages ?? '').includes(word));
    },
    stop: () => Promise.all([bedrock.stop(), mock.stop()]),
  };
}

/** aimock begins each block of text with a frame that says nothing. Bedrock sends none, and its own client refuses it. */
async function startBedrock(upstream) {
  const server = createServer(async (request, answer) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const headers = { 'content-type': 'application/json' };
    const from = await fetch(upstream + request.url, { method: request.method, headers, body: Buffer.concat(chunks) });
    const kept = ['content-type', 'retry-after'].filter((name) => from.headers.has(name));
    answer.writeHead(from.status, Object.fromEntries(kept.map((name) => [name, from.headers.get(name)])));
    const isStream = from.headers.get('content-type').includes('eventstream');
    let held = Buffer.alloc(0);
    try {
      for await (const chunk of from.body) {
        held = Buffer.concat([held, chunk]);
        // A frame begins with its length.
        for (let length; isStream && held.length >= 4 && held.length >= (length = held.readUInt32BE(0)); ) {
          const frame = held.subarray(0, length);
          if (!frame.includes('"start":{}')) answer.write(frame);
          held = held.subarray(length);
        }
      }
      answer.end(held);
    } catch {
      answer.destroy();
    }
  });
  return { url: await listen(server), stop: () => close(server) };
}

export const WORDS = 'Hello there, dear friend.';
export const RECIPE = { name: 'Soup', minutes: 20 };
export const SOUND = Buffer.from([0xff, 0xfb, 0x00, 0x80, 0x0a, 0x0d]);
export const LONG = 'word '.repeat(400).trim();

/** What callers send to be answered with tool calls, and with `RECIPE`. */
export const TOOLS = [
  {
    type: 'function',
    function: {
      name: 'weather',
      description: 'The weather in a city.',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
  },
];

export const SCHEMA = {
  type: 'json_schema',
  json_schema: {
    name: 'recipe',
    strict: true,
    schema: {
      type: 'object',
      properties: { name: { type: 'string' }, minutes: { type: 'integer' } },
      required: ['name', 'minutes'],
      additionalProperties: false,
    },
  },
};

const rateLimited = { message: 'Slow down.', type: 'rate_limit_error', code: 'rate_limit_exceeded' };

/** Each protocol has names of its own for the same numbers. */
function usage(input, output, details) {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    input_tokens: input,
    output_tokens: output,
    promptTokenCount: input,
    candidatesTokenCount: output,
    ...details,
  };
}

const FIXTURES = [
  ['greet', { content: WORDS, usage: usage(11, 7) }, { chunkSize: 5 }],
  ['recipe', { content: RECIPE, usage: usage(30, 12) }],
  ['ponder', { content: 'Four.', reasoning: 'Two and two.', usage: usage(20, 9) }],
  [
    'count',
    {
      content: 'Five.',
      usage: usage(100, 40, {
        prompt_tokens_details: { cached_tokens: 60 },
        completion_tokens_details: { reasoning_tokens: 25 },
      }),
    },
  ],
  [
    'weather',
    ({ model }) => ({
      toolCalls: [
        { name: 'weather', arguments: '{"city":"Oslo"}', id: 'call_oslo' },
        { name: 'weather', arguments: '{"city":"Bern"}', id: 'call_bern' },
      ],
      usage: usage(40, 16),
      // Gemini has no finish reason of its own for tools, though aimock makes one up.
      ...(model.startsWith('gemini') && { finishReason: 'stop' }),
    }),
    { match: { hasToolResult: false } },
  ],
  ['weather', { content: 'Cold in Oslo, warm in Bern.', usage: usage(60, 10) }, { match: { hasToolResult: true } }],
  ['hurry', { error: rateLimited, status: 429, retryAfter: 30 }],
  ['patience', { error: rateLimited, status: 429, retryAfter: 1 }, { match: { sequenceIndex: 0 } }],
  ['patience', { content: WORDS }, { match: { sequenceIndex: 1 } }],
  ['fail', { error: { message: 'Something broke.', type: 'server_error' }, status: 500 }],
  ['break off', { content: LONG }, { chunkSize: 5, truncateAfterChunks: 6, latency: 20 }],
  ['go on', { content: LONG }, { chunkSize: 5, latency: 20 }],
];

/** An upstream that misbehaves as the model's name says. It speaks the protocol of OpenAI, as Groq does. */
export async function startUpstream() {
  const closed = [];
  const arrived = [];
  const forms = [];
  const server = createServer(async (request, answer) => {
    if (/\/(audio\/transcriptions|files|batches)\b/.test(request.url)) return keep(request, answer, forms);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = String(Buffer.concat(chunks));
    arrived.push({ headers: request.headers, body });
    const { model, stream } = JSON.parse(body);
    const { socket } = request;
    const event = (word) => {
      const choices = [{ index: 0, delta: { content: word } }];
      return `data: ${JSON.stringify({ id: 'up', object: 'chat.completion.chunk', choices })}\n\n`;
    };
    const begin = () => {
      answer.writeHead(200, { 'content-type': 'text/event-stream' });
      answer.write(event('one'));
    };
    answer.on('close', () => {
      if (!answer.writableFinished) closed.push(model);
    });
    switch (model) {
      case 'html':
        answer.writeHead(200, { 'content-type': 'text/html' }).end('<html><body>Bad day</body></html>');
        break;
      case 'blank':
        answer.writeHead(200, { 'content-type': stream ? 'text/event-stream' : 'application/json' }).end();
        break;
      case 'hangs-up':
        socket.destroy();
        break;
      case 'half':
        begin();
        // Long enough for the first chunk to be on its way before the reset throws away what is not.
        await sleep(300);
        answer.write(event('two').slice(0, 40));
        await sleep(300);
        socket.resetAndDestroy();
        break;
      // Sound: no text, no events, and not all at once.
      case 'sound':
      case 'half-a-sound':
        answer.writeHead(200, { 'content-type': 'audio/mpeg' });
        answer.write(SOUND);
        await sleep(300);
        if (model === 'sound') answer.end(SOUND);
        else socket.resetAndDestroy();
        break;
      case 'silent':
      case 'waits':
        break;
      case 'stalls':
        begin();
        break;
      case 'talks':
        begin();
        while (!answer.destroyed) {
          answer.write(event('more'));
          await sleep(20);
        }
        break;
      default:
        answer.writeHead(404).end();
    }
  });
  const url = await listen(server);
  return {
    url,
    settings: { GROQ_API_KEY: 'sk-groq', GROQ_BASE_URL: `${url}/v1` },
    /** What arrived, as it was. */
    arrived,
    /** Forms and what else there was about files, while it comes: headers, body so far, and how it ended. */
    forms,
    /** The models whose callers left before the end. */
    closed,
    stop: () => close(server),
  };
}

/** Listens, and keeps files and batches. A word in the address or the form says how. */
async function keep(request, answer, forms) {
  const form = { url: request.url, headers: request.headers, body: '', state: 'open' };
  forms.push(form);
  const reply = (status, body) => {
    form.state = 'answered';
    answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      form.body += chunk.toString('latin1');
      if (form.body.includes('too-large')) {
        // A connection that is reset may take its answer along, so the rest is read, as servers do.
        request.resume();
        return reply(413, { error: { message: 'Maximum content size limit exceeded', type: 'invalid_request_error' } });
      }
    }
  } catch {
    form.state = 'broken';
    return;
  }
  const { method, url } = request;
  if (url.endsWith('/audio/transcriptions')) {
    if (!form.body.includes('streamed')) return reply(200, { text: 'Hello.', duration: 2.5 });
    const done = { type: 'transcript.text.done', text: 'Hello.', usage: { type: 'tokens', input_tokens: 9, output_tokens: 3 } };
    answer.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const event of [{ type: 'transcript.text.delta', delta: 'Hello.' }, done]) {
      answer.write(`data: ${JSON.stringify(event)}\n\n`);
      await sleep(50);
    }
    answer.end();
  } else if (url.endsWith('/content')) {
    answer.writeHead(200, { 'content-type': 'application/octet-stream' });
    answer.write('first');
    form.go_on = () => answer.end(' last');
  } else if (method === 'DELETE') {
    reply(200, { id: url.split('/').at(-1), object: 'file', deleted: true });
  } else if (url.includes('/batches')) {
    reply(200, { id: 'batch_1', object: 'batch', status: 'validating', input_file_id: 'file_1' });
  } else {
    reply(200, { id: 'file_1', object: 'file', purpose: 'batch', filename: 'a.jsonl' });
  }
}
