import type { BoundResult } from './bounds.js';
import type { CostResult } from './costs.js';
import type { CrowdResult } from './crowds.js';
import type { Machine } from './machine.js';
import type { Sample, Scenario } from './measure.js';
import type { Spread } from './statistics.js';
import type { Subject } from './subject.js';

/** The figures of one server over all rounds. */
export interface SubjectResult {
  subject: Subject;
  /** By scenario: each figure's spread over the rounds. */
  scenarios: Record<
    Scenario,
    Record<'cpu' | 'throughput' | 'p50' | 'p99', Spread> & Pick<Sample, 'commands' | 'statements'>
  >;
  /** CPU time on top of the same route without a session: the spread of the differences of all rounds. */
  added: Record<Scenario, Spread> | undefined;
  bytesPerSession?: number;
  lostUpdates?: number;
  growth?: Record<string, number>;
}

/** The content of the raw results' file. */
export interface Results {
  date: string;
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  rounds: number;
  subjects: SubjectResult[];
  costs: CostResult[];
  bounds: BoundResult[];
  crowds: CrowdResult[];
  importTime?: Spread;
  skipped: string[];
}
