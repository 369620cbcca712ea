import type { SessionBackend } from '../../core/backend.js';
import type { SeededRandom } from '../random.js';

/** The tools of one case of the suite. */
export interface Bench {
  /** The backend under test, empty at the start of each case. */
  readonly backend: SessionBackend;
  /** All handles on that one store: the backend itself first, then those of `openAgain`. Races are spread over them. */
  readonly handles: readonly SessionBackend[];
  /** Opens one more handle, which the suite closes. Only for the cases about several handles. */
  readonly openAgain: () => Promise<SessionBackend>;
  readonly random: SeededRandom;
  /** The number of random races in a racing case. */
  readonly races: number;
}

/** The contract in sentences, each with its check, under headings. */
export type Sections = Readonly<Record<string, Readonly<Record<string, (bench: Bench) => Promise<void>>>>>;

/** Calls `work` with 0 to `count - 1`, at most `atOnce` at a time. */
export async function inParallel(count: number, atOnce: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane));
}

/** The most rounds of a case that goes one step after another, and the fewest. */
const MOST_ROUNDS = 200;
const FEWEST_ROUNDS = 20;

/** Returns the number of such rounds: a fifth of the races, as far as they make sense. */
export function roundsOf({ races }: Pick<Bench, 'races'>): number {
  return Math.ceil(Math.min(MOST_ROUNDS, Math.max(FEWEST_ROUNDS, races / 5)));
}

/** Spreads calls over the handles, round robin. */
export function inTurn<T>(handles: readonly T[], n: number): T {
  const handle = handles[n % handles.length];
  if (handle === undefined) throw new RangeError('There is no handle');
  return handle;
}

export function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}
