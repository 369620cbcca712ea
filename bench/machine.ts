import { cpus, loadavg, release, totalmem, type } from 'node:os';

import { canPin } from './launch.js';

/** The machine of a measurement. */
export interface Machine {
  cpu: string;
  cores: number;
  memory: number;
  platform: string;
  pinned: boolean;
  /** Load average of the last 1, 5 and 15 minutes, taken before the measurement. */
  loadAverage: number[];
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? '',
    cores: cpus().length,
    memory: totalmem(),
    platform: `${type()} ${release()}`,
    pinned: canPin,
    loadAverage: loadavg(),
  };
}
