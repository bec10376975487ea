// On Cloudflare's runtime, through wrangler.

import { dev } from './dev.mjs';

dev('workers');
