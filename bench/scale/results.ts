import type { Machine } from '../machine.js';
import type { Spread } from '../statistics.js';
import type { Operation } from './operations.js';
import type { StoreName } from './stores.js';

/** One sweep of a part of the expired sessions, and what the load's answers took before, during and after it; milliseconds. */
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
  /** What the process of the application grew by. */
  residentPerSession: number;
  /** By the number of sessions in the store: medians, in microseconds. */
  times: Record<number, Record<Operation, number>>;
  violations: string[];
}

export interface StoreResult extends StoreMeasured {
  sweeps: SweepEffect[];
}

/** What is left of the sweeps' many answers. All in milliseconds, but `ratio` and `noise`. */
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

/** What the machine-readable file has. */
export interface ScaleFigures extends Campaign {
  stores: (StoreMeasured & { sweep: SweepFigures })[];
}
