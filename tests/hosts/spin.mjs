// The script on Spin.

import { startSpin } from './lib/spin.mjs';
import { script } from './script.mjs';

script('Spin', startSpin);
