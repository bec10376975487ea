// The script on Cloudflare's runtime.

import { startWorkers } from './lib/workers.mjs';
import { script } from './script.mjs';

script('Cloudflare Workers', startWorkers);
