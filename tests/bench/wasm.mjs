// How long the Worker's Wasm takes to come alive: the module that a call starts. Prints one line of JSON, in milliseconds:
// `compile` and `instantiate` by V8 in this process, and, for Hypergate and for a Worker that does
// nothing, `start`: from starting workerd to its first answer. `start_calls` is that without the other module: it tells
// what it costs a call that the runtime compiles both.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Miniflare, convertV4MiniflareOptions } from 'miniflare';

import { modulesOf } from '../hosts/lib/workers.mjs';

const folder = process.argv[2];
const ROUNDS = 9;

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** The bytes with an empty section that differs each time: V8 remembers what it has compiled. */
function unseen(bytes, salt) {
  const name = [...String(salt)].map((digit) => digit.charCodeAt(0));
  return Uint8Array.from([...bytes, 0, name.length + 1, name.length, ...name]);
}

function measureInV8() {
  const bytes = readFileSync(path.join(folder, 'calls/index_bg.wasm'));
  const compile = [];
  const instantiate = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const fresh = unseen(bytes, round);
    const began = performance.now();
    const module = new WebAssembly.Module(fresh);
    const compiled = performance.now();
    const imports = {};
    for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
      (imports[from] ??= {})[name] = kind === 'tag' ? WebAssembly.JSTag : () => {};
    }
    const linked = performance.now();
    new WebAssembly.Instance(module, imports);
    compile.push(compiled - began);
    instantiate.push(performance.now() - linked);
  }
  return { compile: median(compile), instantiate: median(instantiate) };
}

/** Any answer will do: a route that is not there needs no database. */
async function start(options) {
  const began = performance.now();
  const worker = new Miniflare(convertV4MiniflareOptions({
    name: 'measured',
    compatibilityDate: '2026-11-01',
    compatibilityFlags: ['enable_request_signal'],
    cf: false,
    ...options,
  }));
  const url = await worker.ready;
  await (await fetch(new URL('/nowhere', url))).text();
  const took = performance.now() - began;
  await worker.dispose();
  return took;
}

const workers = {
  bare: { modules: true, script: "export default { fetch: () => new Response('') };" },
  gateway: {
    modulesRoot: folder,
    modules: modulesOf(folder),
  },
  calls: {
    modulesRoot: folder,
    modules: modulesOf(folder).filter((module) => !path.relative(folder, module.path).startsWith('watch')),
  },
};
const starts = { bare: [], gateway: [], calls: [] };
await start(workers.bare);
for (let round = 0; round < ROUNDS; round += 1) {
  for (const name of Object.keys(workers)) starts[name].push(await start(workers[name]));
}
const result = measureInV8();
for (const name of Object.keys(workers)) result[`start_${name}`] = median(starts[name]);
process.stdout.write(`${JSON.stringify(result)}\n`);
