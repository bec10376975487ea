// Three hours on Cloudflare's runtime.

import { startMortalWorkers } from './lib/mortal.mjs';
import { simulation } from './simulation.mjs';

simulation('Cloudflare Workers', startMortalWorkers);
