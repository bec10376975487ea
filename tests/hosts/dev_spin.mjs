// On Spin, or the test host that stands in for it.

import { dev } from './dev.mjs';

dev('spin');
