// The gateway on Cloudflare's runtime with mocked providers, for an SDK to talk to.

import { SECRETS, operator } from '../../hosts/lib/gateway.mjs';
import { startMock } from '../../hosts/lib/mock.mjs';
import { startWorkers } from '../../hosts/lib/workers.mjs';

/** A model of each of the protocols that most speak. */
export const MODELS = ['openai/gpt-5-mini', 'anthropic/claude-haiku-4-5', 'gemini/gemini-2.5-flash'];

/** A model of each protocol; OpenAI serves its coding models by Responses alone. */
export const EVERY_PROTOCOL = [
  ...MODELS,
  'openai/gpt-5-codex',
  'bedrock/amazon.nova-pro-v1:0',
  'cohere/command-a-03-2025',
];

/**
 * Starts it with one tenant: `key` may use every model, `narrow_key` only the demo models, `talk_key` only one that
 * talks.
 */
export async function startGateway() {
  const mock = await startMock();
  const host = await startWorkers({ ...SECRETS, ...mock.settings });
  const op = operator(host.url);
  const tenant = await op.tenant('sdk');
  const { key } = await op.key(tenant);
  const { key: narrow_key } = await op.key(tenant, { models: ['demo/*'] });
  const { key: talk_key } = await op.key(tenant, { models: ['openai/gpt-realtime'] });
  await op.alias(tenant, 'fast', ['demo/fail', 'anthropic/claude-haiku-4-5']);
  return {
    base_url: `${host.url}/v1`,
    admin_url: `${host.url}/admin/v1`,
    admin_token: SECRETS.ADMIN_TOKEN,
    key,
    narrow_key,
    talk_key,
    record: op.record,
    stop: () => Promise.all([host.stop(), mock.stop()]),
  };
}
