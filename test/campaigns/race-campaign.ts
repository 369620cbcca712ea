import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { SessionBackend } from '../../src/core/backend.js';
import { forkModule } from '../support/child.js';
import { SeededRandom } from '../../src/testing/random.js';
import { didOverlap, judge, PROCESSES, raceOf, type Answer } from './race-plan.js';
import type { RaceReply } from './race-process.js';
import { RaceRunner, sharedNow } from './race-runner.js';

/** Races that begin at the same instant in all processes. */
const BATCH = 16;
/** Batches under way: while one is raced, others are set up and verified. */
const AT_ONCE = 4;
/** Milliseconds from when a race is called until it begins: time for all to hear of it. */
const NOTICE = 2;

type Part = Pick<RaceRunner, 'setUp' | 'race' | 'verify'>;

export interface RaceResult {
  races: number;
  /** Races in which a step that ends a session ran at the same time as a step of another process. */
  overlapped: number;
  survivors: string[];
  problems: string[];
}

/** The part of another process. */
class RemotePart implements Part {
  readonly #waiting = new Map<number, (reply: RaceReply) => void>();
  #calls = 0;

  constructor(private readonly child: ChildProcess) {
    child.on('message', message => {
      const reply = message as RaceReply;
      this.#waiting.get(reply.call)?.(reply);
      this.#waiting.delete(reply.call);
    });
    child.once('exit', (code, signal) => {
      for (const [call, settle] of this.#waiting)
        settle({ call, error: `A process of the race ended with ${code ?? signal}` });
    });
  }

  setUp: Part['setUp'] = (...args) => this.#call('setUp', args);
  race: Part['race'] = (...args) => this.#call('race', args);
  verify: Part['verify'] = (...args) => this.#call('verify', args);

  async #call<R>(method: keyof Part, args: unknown[]): Promise<R> {
    const call = this.#calls++;
    const { value, error } = await new Promise<RaceReply>(resolve => {
      this.#waiting.set(call, resolve);
      // Where it cannot be sent, the process has ended, and says so.
      this.child.send({ call, method, args }, () => undefined);
    });
    if (error !== undefined) throw new Error(error);
    return value as R;
  }
}

/** Races on a store that several processes share. */
export async function raceProcesses(engine: string, address: string, races: number, seed: number): Promise<RaceResult> {
  const run = newRun();
  const children = Array.from({ length: PROCESSES }, (_, part) =>
    forkModule('../campaigns/race-process', [engine, address, String(part), run, String(seed)]),
  );
  try {
    const parts = children.map(child => new RemotePart(child));
    return await raceAll(parts, run, races, seed);
  } finally {
    for (const child of children) child.kill();
  }
}

/** Races on a store in this process's own memory. Its calls and answers take their time, as if they came from afar. */
export function raceWithin(backend: SessionBackend, races: number, seed: number): Promise<RaceResult> {
  const run = newRun();
  const distant = putFarAway(backend, new SeededRandom(seed));
  const parts = Array.from({ length: PROCESSES }, (_, part) => new RaceRunner(distant, part, run, seed));
  return raceAll(parts, run, races, seed);
}

function putFarAway(backend: SessionBackend, random: SeededRandom): SessionBackend {
  const travel = async (): Promise<void> => {
    for (let turns = random.integer(4); turns > 0; turns--) await new Promise(resolve => setImmediate(resolve));
  };
  return new Proxy(backend, {
    get:
      (target, name: 'read') =>
      async (...args: unknown[]) => {
        await travel();
        const answer = await (target[name] as (...args: unknown[]) => Promise<unknown>)(...args);
        await travel();
        return answer;
      },
  });
}

function newRun(): string {
  return randomBytes(6).toString('hex');
}

async function raceAll(parts: readonly Part[], run: string, races: number, seed: number): Promise<RaceResult> {
  const result: RaceResult = { races: 0, overlapped: 0, survivors: [], problems: [] };
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < races) {
      const numbers = Array.from({ length: Math.min(BATCH, races - next) }, (_, n) => next + n);
      next += numbers.length;
      await raceBatch(parts, run, numbers, seed, result);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return result;
}

async function raceBatch(
  parts: readonly Part[],
  run: string,
  numbers: readonly number[],
  seed: number,
  result: RaceResult,
): Promise<void> {
  // Now this process makes them and that one verifies them, now others.
  const turn = Math.floor(numbers[0]! / BATCH);
  const [maker, verifier] = [parts[turn % parts.length]!, parts[(turn + 1) % parts.length]!];
  await maker.setUp(numbers);
  const at = sharedNow() + NOTICE;
  const told = await Promise.all(parts.map(part => part.race(numbers, at)));

  const verdicts = numbers.map((number, n) => {
    const race = raceOf(run, seed, number);
    const answers: Answer[] = told.flatMap(ofPart => ofPart[n] ?? []);
    const { verdict, problems } = judge(race, answers);
    result.races++;
    if (didOverlap(race, answers)) result.overlapped++;
    result.problems.push(...problems.map(problem => `${problem}: ${JSON.stringify({ race, answers })}`));
    return verdict;
  });
  for (const { survivors, problems } of await verifier.verify(verdicts)) {
    result.survivors.push(...survivors);
    result.problems.push(...problems);
  }
}
