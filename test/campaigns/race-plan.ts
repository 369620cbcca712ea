import type { WriteOutcome } from '../../src/core/backend.js';
import { SeededRandom } from '../../src/testing/random.js';

/** How many processes meet in each race. */
export const PROCESSES = 4;

export type Deed = 'update' | 'touch' | 'rotate' | 'delete' | 'revoke' | 'login';
const DEEDS: readonly Deed[] = ['update', 'touch', 'rotate', 'rotate', 'delete', 'revoke', 'login'];

export interface Operation {
  did: Deed;
  /** Which process does it. */
  by: number;
  /** The session that it is done to. */
  on: string;
  /** Ids that it makes: of a rotation and the rotation after it, or of a log-in. */
  makes: string[];
  /** How often it lets others go first. */
  turns: number;
}

/** Sessions of one user, and what is done to them at the same time. */
export interface Race {
  number: number;
  principal: string;
  sessions: string[];
  operations: Operation[];
}

/** What an operation answered, and when, in milliseconds of a clock that all processes share. */
export interface Answer {
  operation: number;
  outcome: boolean | WriteOutcome[] | string[];
  began: number;
  ended: number;
}

/** Every process works the same race out of its number: nothing of it is sent. */
export function raceOf(run: string, seed: number, number: number): Race {
  const random = new SeededRandom(seed + number);
  const name = `${run}-${number}`;
  const sessions = Array.from({ length: 1 + random.integer(2) }, (_, n) => `${name}-session-${n}`);
  // One at least ends a session, and each process has a part.
  const deeds = [
    random.pick(['delete', 'revoke'] as const),
    ...Array.from({ length: PROCESSES - 1 + random.integer(3) }, () => random.pick(DEEDS)),
  ];
  const first = random.integer(PROCESSES);
  const operations = deeds.map((did, n): Operation => {
    const length = did === 'rotate' ? 1 + random.integer(2) : did === 'login' ? 1 : 0;
    return {
      did,
      by: (first + n) % PROCESSES,
      on: random.pick(sessions),
      makes: Array.from({ length }, (_, step) => `${name}-${did}-${n}-${step}`),
      turns: random.integer(4),
    };
  });
  return { number, principal: name, sessions, operations };
}

/** What must be there after a race, as its answers have it. */
export interface Verdict {
  race: number;
  alive: string[];
  dead: string[];
}

/** Two processes were at it at the same time, and one of them ended something. */
export function didOverlap({ operations }: Race, answers: readonly Answer[]): boolean {
  const isEnding = ({ operation }: Answer): boolean =>
    ['delete', 'revoke', 'rotate'].includes(operations[operation]!.did);
  return answers.some(
    one =>
      isEnding(one) &&
      answers.some(
        other =>
          operations[other.operation]!.by !== operations[one.operation]!.by &&
          one.began < other.ended &&
          other.began < one.ended,
      ),
  );
}

/**
 * Counts who was told what. Each id is ended once at most; what a deletion was sent for, or was older than a revocation, is
 * dead under whatever id; all else that was made lives.
 */
export function judge(race: Race, answers: readonly Answer[]): { verdict: Verdict; problems: string[] } {
  const problems: string[] = [];
  const made = new Set(race.sessions);
  const endings = new Map<string, number>();
  const writes = new Map<string, number>();
  const doomed = new Set<string>();
  const logins = new Set<string>();
  const count = (counts: Map<string, number>, id: string): unknown => counts.set(id, (counts.get(id) ?? 0) + 1);

  for (const { operation, outcome } of answers) {
    const { did, on, makes } = race.operations[operation]!;
    const outcomes = Array.isArray(outcome) ? outcome : [];
    if (did === 'update' && outcomes[0] === 'updated') count(writes, on);
    if (did === 'rotate') {
      [on, ...makes].forEach((id, step) => {
        if (outcomes[step] !== 'updated') return;
        count(endings, id);
        if (step === 0) count(writes, id);
        made.add(makes[step]!);
      });
    }
    if (did === 'delete') doomed.add(on);
    if (did === 'delete' && outcome === true) count(endings, on);
    if (did === 'login') logins.add(makes[0]!);
    if (did === 'login' && outcome === true) made.add(makes[0]!);
    if (did === 'revoke') for (const id of outcomes) count(endings, id);
  }
  const isRevoked = race.operations.some(({ did }) => did === 'revoke');
  for (const [id, times] of endings) {
    if (times > 1) problems.push(`${id} was ended ${times} times`);
    if (!made.has(id)) problems.push(`${id} was ended and never made`);
  }
  for (const [id, times] of writes) if (times > 1) problems.push(`version 1 of ${id} was written over ${times} times`);
  for (const id of made) {
    const mustDie = doomed.has(id) || (isRevoked && !logins.has(id));
    if (mustDie && !endings.has(id)) problems.push(`${id} must be dead, and nobody was told to have ended it`);
  }
  const candidates = [...race.sessions, ...race.operations.flatMap(({ makes }) => makes)];
  const isAlive = (id: string): boolean =>
    made.has(id) && !endings.has(id) && !doomed.has(id) && (!isRevoked || logins.has(id));
  const verdict = {
    race: race.number,
    alive: candidates.filter(isAlive),
    dead: candidates.filter(id => !isAlive(id)),
  };
  return { verdict, problems };
}
