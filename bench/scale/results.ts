import type { Machine } from '../machine.js';
import type { Spread } from '../statistics.js';
import type { Operation } from './operations.js';
import type { StoreName } from './stores.js';

/** One sweep of a part of the expired sessions, and the answer times of the load before, during and after it, in milliseconds. */
export interface SweepEffect {
  deleted: number;
  seconds: number;
  before: number[];
  during: number[];
  after: number[];
}

export interface StoreMeasured {
  store: StoreName;
  fillSeconds: number;
  bytesPerSession: number;
  /** Growth of the application's process. */
  residentPerSession: number;
  /** By the number of sessions in the store: medians, in microseconds. */
  times: Record<number, Record<Operation, number>>;
  violations: string[];
}

export interface StoreResult extends StoreMeasured {
  sweeps: SweepEffect[];
}

/** The figures of all sweeps, in milliseconds; `ratio` and `noise` are quotients. */
export interface SweepFigures {
  deleted: number;
  /** Of all sweeps together. */
  seconds: number;
  requests: { without: number; with: number };
  p50: { without: number; with: number };
  p99: { without: number; with: number };
  /** p99 with a sweep over p99 without, round by round. */
  ratio: Spread;
  /** p99 after over p99 before, round by round: how much two stretches without a sweep differ. */
  noise: Spread;
}

interface Campaign {
  date: string;
  sessions: number;
  machine: Machine;
  versions: Record<string, string>;
  rounds: number;
  minutes: number;
}

export interface ScaleResults extends Campaign {
  stores: StoreResult[];
}

/** The content of the raw results' file. */
export interface ScaleFigures extends Campaign {
  stores: (StoreMeasured & { sweep: SweepFigures })[];
}
