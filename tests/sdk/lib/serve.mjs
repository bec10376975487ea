// The gateway for a test in another language: says where it is in one line of JSON, ends with its input.

import { startGateway } from './gateway.mjs';

const { record, stop, ...where } = await startGateway();
process.stdin.on('end', async () => {
  await stop();
  process.exit();
});
process.stdin.resume();
console.log(JSON.stringify(where));
