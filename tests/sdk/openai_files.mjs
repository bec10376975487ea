// The official JavaScript SDK with files and sockets, used as its documentation says.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';

import OpenAI, { toFile } from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

import { WORDS } from '../hosts/lib/mock.mjs';
import { until } from '../hosts/lib/wait.mjs';
import { startGateway } from './lib/gateway.mjs';

describe('the openai package, with files', () => {
  let gateway, client;

  before(async () => {
    gateway = await startGateway();
    client = new OpenAI({ apiKey: gateway.key, baseURL: gateway.base_url, maxRetries: 0 });
  });
  after(() => gateway?.stop());

  it('writes sound down, and translates it', async () => {
    for (const size of [10, 3_000_000]) {
      for (const [first, second] of [['file', 'model'], ['model', 'file']]) {
        const file = await toFile(Buffer.alloc(size, 'x'), 'sound.mp3');
        const fields = { file, model: 'openai/whisper-1' };
        const request = { [first]: fields[first], [second]: fields[second] };
        assert.equal((await client.audio.transcriptions.create(request)).text, WORDS);
        assert.equal((await client.audio.translations.create(request)).text, WORDS);
      }
    }
  });

  it('changes a picture', async () => {
    const image = await toFile(Buffer.from('png'), 'picture.png', { type: 'image/png' });
    const { data } = await client.images.edit({ model: 'openai/gpt-image-1', image, prompt: 'greet' });
    assert.equal(data[0].b64_json, 'AA==');
  });

  it('keeps files and batches', async () => {
    const line = { custom_id: '1', method: 'POST', url: '/v1/chat/completions' };
    const lines = JSON.stringify({ ...line, body: { model: 'openai/gpt-5-mini', messages: [] } });
    const file = await client.files.create({ file: await toFile(Buffer.from(lines), 'a.jsonl'), purpose: 'batch' });
    assert.equal((await client.files.retrieve(file.id)).purpose, 'batch');
    assert.ok((await Array.fromAsync(client.files.list())).some(({ id }) => id === file.id));
    const content = await (await client.files.content(file.id)).json();
    assert.equal(content.body.model, 'gpt-5-mini');

    const wish = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
    const batch = await client.batches.create(wish);
    assert.equal((await client.batches.retrieve(batch.id)).input_file_id, file.id);
    assert.ok((await Array.fromAsync(client.batches.list())).some(({ id }) => id === batch.id));
    await assert.rejects(client.batches.retrieve('batch_of_another_tenant'), OpenAI.NotFoundError);
    const narrow = new OpenAI({ apiKey: gateway.narrow_key, baseURL: gateway.base_url, maxRetries: 0 });
    await assert.rejects(narrow.batches.create(wish), OpenAI.PermissionDeniedError);
    assert.equal((await client.files.delete(file.id)).deleted, true);
    await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
  });

  it('talks over a socket', async () => {
    // The SDK speaks TLS only, and a gateway on this machine does not.
    const { hostname, port } = new URL(gateway.base_url);
    const options = { createConnection: () => connect(Number(port), hostname) };
    const talk = new OpenAIRealtimeWS({ model: 'openai/gpt-realtime', options }, client);
    const heard = [];
    talk.on('event', (event) => heard.push(event));
    talk.on('error', () => {});
    await until('the session', () => heard.find(({ type }) => type === 'session.created'));
    const content = [{ type: 'input_text', text: 'greet me' }];
    talk.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    talk.send({ type: 'response.create' });
    const { response } = await until('an answer', () => heard.find(({ type }) => type === 'response.done'));
    assert.equal(response.status, 'completed');
    talk.close();
  });
});
