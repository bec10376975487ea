// The time in a Worker whose clock is set from outside. Its timers run faster, as nobody waits for hours.

const FASTER = 10;
const { setTimeout: wait, fetch: ask } = globalThis;
let now_ms = Date.now();

Date.now = () => now_ms;
globalThis.setTimeout = (then, ms, ...words) => wait(then, ms / FASTER, ...words);
// An upstream says how long it took.
globalThis.fetch = async (...request) => {
  const answer = await ask(...request);
  now_ms += Number(answer.headers.get('x-test-took-ms') ?? 0);
  return answer;
};

export function setClock(ms) {
  if (ms) now_ms = Number(ms);
}
