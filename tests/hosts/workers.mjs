// The scripts on Cloudflare's runtime.

import { clouds } from './clouds.mjs';
import { startWorkers } from './lib/workers.mjs';
import { script } from './script.mjs';

script('Cloudflare Workers', startWorkers);
clouds('Cloudflare Workers', startWorkers);
