// The Worker, with the time that a request says it is.

import { setClock } from './clock.mjs';
import Worker from './index.js';

export * from './index.js';

export default class extends Worker {
  fetch(request) {
    setClock(request.headers.get('x-test-now-ms'));
    return super.fetch(request);
  }
}
