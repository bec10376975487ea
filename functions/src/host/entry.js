// The Worker's door: two modules, of which an isolate starts those it needs. A call starts one.

import { DurableObject } from 'cloudflare:workers';

import Calls from './calls/index.js';

/** What the other module answers. */
const WATCH = ['/admin/', '/internal/', '/metrics', '/healthz'];

async function watch(door, event, ctx, env) {
  const { default: Watch } = await import('./watch/index.js');
  return new Watch(ctx, env)[door](event);
}

export default class extends Calls {
  fetch(request) {
    const { url } = request;
    const path = url.slice(url.indexOf('/', url.indexOf('://') + 3));
    if (WATCH.some((prefix) => path.startsWith(prefix))) return this.#watch('fetch', request);
    return super.fetch(request);
  }

  queue(batch) {
    return this.#watch('queue', batch);
  }

  async scheduled(event) {
    // Neither may cost the other.
    try {
      await this.#watch('scheduled', event);
    } finally {
      await this.env.CLOCK?.getByName('clock').start();
    }
  }

  async #watch(door, event) {
    const answer = await watch(door, event, this.ctx, this.env);
    // It may have changed who may call; the other module has them in its memory.
    if (door !== 'queue' && event.method !== 'GET') super.forgetCallers();
    return answer;
  }
}

const MINUTE_MS = 60_000;
/** Late enough in a minute that cron has had its turn. */
const PAST_THE_MINUTE_MS = 40_000;

/** A second tick each minute, by an alarm that cron set going once: cron is best effort, and an alarm is kept. */
export class Clock extends DurableObject {
  async start() {
    if ((await this.ctx.storage.getAlarm()) === null) await this.#next();
  }

  async alarm() {
    // First, so that a tick that fails is not the last.
    await this.#next();
    await watch('scheduled', { cron: 'alarm', scheduledTime: Date.now() }, this.ctx, this.env);
  }

  #next() {
    const now_ms = Date.now();
    const due_ms = now_ms - (now_ms % MINUTE_MS) + PAST_THE_MINUTE_MS;
    return this.ctx.storage.setAlarm(due_ms > now_ms ? due_ms : due_ms + MINUTE_MS);
  }
}
