// The clouds that want more than a key, in front of the mock that answers for them. They check what proves who asks as
// their makers' documents say, with this runtime's cryptography, and pass on what they let in.

import { createHash, createHmac, generateKeyPairSync, timingSafeEqual, verify } from 'node:crypto';
import { createServer } from 'node:http';
import { crc32 } from 'node:zlib';

import { close } from './receiver.mjs';
import { listen } from './wait.mjs';

const ENTRA = { tenant: 'tenant-1', client: 'client-1', secret: 's3cret&=+ %' };
const ENTRA_SCOPE = 'https://cognitiveservices.azure.com/.default';
const GOOGLE_SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const ACCOUNT = 'gate@acme-1.iam.gserviceaccount.com';
const AWS = { access: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', session: 'AQoDYXdzEPT//////////wEXAMPLE==' };
const REGION = 'eu-west-1';
const API_VERSION = '2024-10-21';

/** Starts them. */
export async function startClouds(mock) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const arrived = [];
  const tokens = { google: 0, entra: 0 };
  let url;

  /** Each door: whose path it is, who may pass, and where what may pass goes. */
  const doors = [
    [/^\/token$/, google],
    [/^\/([^/]+)\/oauth2\/v2\.0\/token$/, entra],
    [/^\/v1\/(?:projects\/([^/]+)\/locations\/([^/]+)\/)?publishers\/(google|anthropic)\/models\/([^/:]+):(\w+)$/, vertex],
    [/^\/openai\/(?:deployments\/[^/]+|v1)\/(.+)$/, azure],
    [/^\/model\/[^/]+\/(?:converse|converse-stream|invoke|invoke-with-response-stream)$/, bedrock],
    [/^\/api\/chat$/, ({ path, body }) => ({ path, body })],
  ];

  function google({ form, seconds }) {
    const [head, claims, signature] = form.assertion.split('.');
    const read = (part) => JSON.parse(Buffer.from(part, 'base64url'));
    const { alg, typ, kid } = read(head);
    const { iss, scope, aud, iat, exp } = read(claims);
    check(form.grant_type === 'urn:ietf:params:oauth:grant-type:jwt-bearer', 'grant_type');
    check(alg === 'RS256' && typ === 'JWT' && kid === 'key-1', 'the head of the assertion');
    check(verify('RSA-SHA256', Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(signature, 'base64url')), 'signature');
    check(iss === ACCOUNT && scope === GOOGLE_SCOPE && aud === `${url}/token`, 'the claims of the assertion');
    check(Math.abs(seconds - iat) < 60 && exp > seconds && exp - iat <= 3600, 'the times of the assertion');
    tokens.google += 1;
    return { reply: { access_token: `ya29.${tokens.google}`, expires_in: 3599, token_type: 'Bearer' } };
  }

  function entra({ form, parts: [tenant] }) {
    const { grant_type, client_id, client_secret, scope } = form;
    check(tenant === ENTRA.tenant && client_id === ENTRA.client && client_secret === ENTRA.secret, 'client');
    check(grant_type === 'client_credentials' && scope === ENTRA_SCOPE, 'what is asked for');
    tokens.entra += 1;
    return { reply: { access_token: `eyJ.${tokens.entra}`, expires_in: 3599, token_type: 'Bearer' } };
  }

  function vertex({ headers, path, parts: [project, location, publisher, model, method], query, body }) {
    if (project) {
      check(headers.authorization === `Bearer ya29.${tokens.google}`, 'token');
      check(project === 'acme-1' && location === 'europe-west4', 'place');
    } else {
      check(headers['x-goog-api-key'] === 'vertex-key' && headers.authorization === undefined, 'key');
      // Claude is not to be had for a key.
      check(publisher === 'google', 'publisher');
    }
    // The mock knows Gemini's addresses with a project and without a cloud.
    if (publisher === 'google') return { path: (project ? path : `/v1beta/models/${model}:${method}`) + query, body };
    const { anthropic_version, ...rest } = JSON.parse(body);
    check(anthropic_version === 'vertex-2023-10-16' && rest.model === undefined, 'body');
    check(method === (rest.stream ? 'streamRawPredict' : 'rawPredict'), 'method');
    return { path: '/v1/messages', body: JSON.stringify({ ...rest, model }) };
  }

  function azure({ headers, parts: [path], path: whole, query, body }) {
    if (whole.startsWith('/openai/deployments/')) {
      check(headers['api-key'] === 'azure-key' && headers.authorization === undefined, 'key');
      check(query === `?api-version=${API_VERSION}`, 'api-version');
      return { path: whole, body };
    }
    check(headers.authorization === `Bearer eyJ.${tokens.entra}` && headers['api-key'] === undefined, 'token');
    check(query === '', 'api-version');
    return { path: `/v1/${path}`, body };
  }

  function bedrock(call) {
    if (!call.headers.authorization.startsWith('AWS4-')) {
      check(call.headers.authorization === 'Bearer bedrock-key', 'key');
    } else {
      checkSignature(call);
    }
    return { path: call.path, body: call.body };
  }

  const server = createServer(async (request, answer) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [path, query] = request.url.split(/(?=\?)/);
    const call = { method: request.method, path, query: query ?? '', headers: request.headers, body: Buffer.concat(chunks) };
    call.seconds = Math.floor(Date.now() / 1000);
    arrived.push(call);
    const door = doors.find(([pattern]) => pattern.test(path));
    if (!door) return answer.writeHead(404).end();
    call.parts = path.match(door[0]).slice(1);
    if (call.headers['content-type'] === 'application/x-www-form-urlencoded') {
      call.form = Object.fromEntries(new URLSearchParams(String(call.body)));
    }
    let passed;
    try {
      passed = door[1](call);
    } catch (error) {
      call.refused = error.message;
      const said = { error: { message: `Refused: ${error.message}`, type: 'authentication_error' } };
      return answer.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(said));
    }
    if (passed.reply) {
      return answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(passed.reply));
    }
    const headers = { 'content-type': 'application/json' };
    const given = await fetch(mock.url + passed.path, { method: call.method, headers, body: passed.body });
    const kept = [...given.headers].filter(([name]) => name === 'content-type' || name === 'retry-after' || name.startsWith('x-amzn'));
    answer.writeHead(given.status, Object.fromEntries(kept));
    try {
      for await (const chunk of passed.path.endsWith('/invoke-with-response-stream') ? packed(given.body) : given.body) {
        answer.write(chunk);
      }
      answer.end();
    } catch {
      answer.destroy();
    }
  });
  url = await listen(server);
  const account = {
    type: 'service_account',
    project_id: 'acme-1',
    private_key_id: 'key-1',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    client_email: ACCOUNT,
    token_uri: `${url}/token`,
  };
  return {
    url,
    /** What came, as it came; `refused` says why it was not let in. */
    arrived,
    /** How many tokens were given out. */
    tokens,
    /** A deployment's settings: as many ways to prove who asks as there are, in two of them. */
    settings: [
      {
        VERTEX_BASE_URL: url,
        VERTEX_LOCATION: 'europe-west4',
        VERTEX_SERVICE_ACCOUNT: JSON.stringify(account),
        AZURE_BASE_URL: url,
        AZURE_API_KEY: 'azure-key',
        AZURE_API_VERSION: API_VERSION,
        BEDROCK_BASE_URL: url,
        BEDROCK_ACCESS_KEY_ID: AWS.access,
        BEDROCK_SECRET_ACCESS_KEY: AWS.secret,
        BEDROCK_SESSION_TOKEN: AWS.session,
        BEDROCK_REGION: REGION,
        OLLAMA_BASE_URL: `${url}/v1`,
        OLLAMA_NATIVE_BASE_URL: url,
      },
      {
        VERTEX_BASE_URL: url,
        VERTEX_API_KEY: 'vertex-key',
        AZURE_BASE_URL: `${url}/openai/v1`,
        AZURE_AUTHORITY_HOST: url,
        AZURE_TENANT_ID: ENTRA.tenant,
        AZURE_CLIENT_ID: ENTRA.client,
        AZURE_CLIENT_SECRET: ENTRA.secret,
        BEDROCK_BASE_URL: url,
        BEDROCK_API_KEY: 'bedrock-key',
      },
    ],
    stop: () => close(server),
  };
}

/** Frames with their payload in base64, as Amazon's InvokeModelWithResponseStream has them; the mock's have it bare. */
async function* packed(body) {
  let held = Buffer.alloc(0);
  for await (const chunk of body) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 4 && held.length >= held.readUInt32BE(0)) {
      const [length, headers] = [held.readUInt32BE(0), held.readUInt32BE(4)];
      const payload = Buffer.from(JSON.stringify({ bytes: held.subarray(12 + headers, length - 4).toString('base64') }));
      const frame = Buffer.alloc(16 + headers + payload.length);
      frame.writeUInt32BE(frame.length, 0);
      frame.writeUInt32BE(headers, 4);
      frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8);
      held.copy(frame, 12, 12, 12 + headers);
      payload.copy(frame, 12 + headers);
      frame.writeUInt32BE(crc32(frame.subarray(0, -4)), frame.length - 4);
      yield frame;
      held = held.subarray(length);
    }
  }
}

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** Amazon's Signature Version 4, from what arrived: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html */
function checkSignature({ method, path, query, headers, body, seconds }) {
  const form = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/;
  const found = headers.authorization.match(form);
  check(found, 'authorization');
  const [, access, date, region, service, names, signature] = found;
  check(access === AWS.access && region === REGION && service === 'bedrock', 'credential');
  const moment = headers['x-amz-date'];
  check(/^\d{8}T\d{6}Z$/.test(moment) && moment.startsWith(date), 'date');
  const signed_s = Date.parse(moment.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)/, '$1-$2-$3T$4:$5:')) / 1000;
  check(Math.abs(seconds - signed_s) < 300, 'age');
  check(headers['x-amz-security-token'] === AWS.session, 'session');
  const listed = names.split(';');
  for (const name of ['host', 'content-type', 'x-amz-date', 'x-amz-security-token']) check(listed.includes(name), name);
  check(names === [...listed].sort().join(';') && query === '', 'order');
  // Every service but S3 encodes the path's segments once more.
  const uri = path.split('/').map(encoded).join('/');
  const lines = listed.map((name) => `${name}:${headers[name].trim()}\n`).join('');
  const request = [method, uri, '', lines, names, sha256(body)].join('\n');
  const scope = [date, region, service, 'aws4_request'];
  const text = ['AWS4-HMAC-SHA256', moment, scope.join('/'), sha256(request)].join('\n');
  const key = scope.reduce((key, part) => hmac(key, part), `AWS4${AWS.secret}`);
  check(timingSafeEqual(hmac(key, text), Buffer.from(signature, 'hex')), 'signature');
}

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const hmac = (key, data) => createHmac('sha256', key).update(data).digest();

/** All but letters, digits and `-._~`; the path's own percent signs as well. */
function encoded(segment) {
  return encodeURIComponent(segment).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);
}
