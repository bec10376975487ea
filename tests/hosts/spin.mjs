// The scripts on Spin.

import { clouds } from './clouds.mjs';
import { startSpin } from './lib/spin.mjs';
import { script } from './script.mjs';

script('Spin', startSpin);
clouds('Spin', startSpin);
