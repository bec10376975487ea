// A Worker in a process of its own, which can be killed with all of its own processes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { startWorkers } from './workers.mjs';

const ME = fileURLToPath(import.meta.url);

/** Starts the built Worker with these settings on what is in the folder `state`. */
export async function startMortalWorkers(settings, { state }) {
  const words = JSON.stringify({ settings, state });
  const child = spawn(process.execPath, [ME, words], { detached: true, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const log = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => log.push(String(text)));
  const end = () => process.kill(-child.pid, 'SIGKILL');
  process.once('exit', end);
  const [told] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (!told?.url) throw new Error(`the Worker did not start: ${log.join('')}`);
  const kill = async () => {
    process.removeListener('exit', end);
    end();
    await once(child, 'exit');
  };
  return { url: told.url, log, kill, stop: kill };
}

if (process.argv[1] === ME) {
  const { settings, state } = JSON.parse(process.argv[2]);
  const { url, log } = await startWorkers(settings, { state, clock: true });
  process.send({ url });
  setInterval(() => log.splice(0).forEach((text) => process.stdout.write(text)), 100);
}
