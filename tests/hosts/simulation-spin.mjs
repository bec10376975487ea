// Three hours on Spin.

import { IS_REAL_SPIN, startSpin } from './lib/spin.mjs';
import { simulation } from './simulation.mjs';

simulation('Spin', startSpin, { skip: IS_REAL_SPIN && 'the clock of Spin itself cannot be set' });
