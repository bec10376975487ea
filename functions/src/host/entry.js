// The Worker's door: two modules, of which an isolate starts those it needs. A call starts one.

import Calls from './calls/index.js';

/** What the other module answers. */
const WATCH = ['/admin/', '/internal/', '/metrics', '/healthz'];

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

  scheduled(event) {
    return this.#watch('scheduled', event);
  }

  async #watch(door, event) {
    const { default: Watch } = await import('./watch/index.js');
    const answer = await new Watch(this.ctx, this.env)[door](event);
    // It may have changed who may call; the other module has them in its memory.
    if (door !== 'queue' && event.method !== 'GET') super.forgetCallers();
    return answer;
  }
}
