import { cpus, loadavg, release, totalmem, type } from 'node:os';

import { canPin } from './launch.js';

/** What something was measured on. */
export interface Machine {
  cpu: string;
  cores: number;
  memory: number;
  platform: string;
  pinned: boolean;
  /** Over the last 1, 5 and 15 minutes, before anything was measured. */
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
