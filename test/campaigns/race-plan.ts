import type { WriteOutcome } from '../../src/core/backend.js';
import { SeededRandom } from '../../src/testing/random.js';

/** How many processes meet in each race. */
export const PROCESSES = 4;

/**
 * `delete` is a log-out or the ending of one session; `revoke` ends all of a user's; `except` all but one; `evict` lists them
 * and ends the one that was seen least recently, as a limit does.
 */
export type Deed = 'update' | 'touch' | 'rotate' | 'delete' | 'revoke' | 'except' | 'evict' | 'login';
const ENDINGS = ['delete', 'revoke', 'except', 'evict'] as const;
const DEEDS: readonly Deed[] = ['update', 'touch', 'rotate', 'rotate', 'rotate', ...ENDINGS, 'login'];

export interface Operation {
  did: Deed;
  /** Which process does it. */
  by: number;
  /** The session that it is done to, or that it spares. */
  on: string;
  /** The proofs of a rotation and the rotation after it, or the id of a log-in. */
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
  /** Of an eviction: the id that it chose, and `ended` if that was there. Of a revocation: the ids that it ended. */
  outcome: boolean | WriteOutcome[] | string[];
  began: number;
  ended: number;
}

/** Every process works the same race out of its number: nothing of it is sent. */
export function raceOf(run: string, seed: number, number: number): Race {
  const random = new SeededRandom(seed + number);
  const name = `${run}-${number}`;
  const sessions = Array.from({ length: 1 + random.integer(3) }, (_, n) => `${name}-session-${n}`);
  // One at least ends a session, and each process has a part.
  const deeds = [
    random.pick(ENDINGS),
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

/** The proof of a session that was never rotated. */
export function firstProofOf(id: string): string {
  return `${id}-proof`;
}

/** What must be there after a race, as its answers have it. */
export interface Verdict {
  race: number;
  alive: { id: string; version: number; proof: string }[];
  dead: string[];
}

/** Two processes were at it at the same time, and one of them ended something. */
export function didOverlap({ operations }: Race, answers: readonly Answer[]): boolean {
  const isEnding = ({ operation }: Answer): boolean =>
    (ENDINGS as readonly Deed[]).includes(operations[operation]!.did);
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
 * Counts who was told what. Each id is ended once at most, and each version of it written over once. What a deletion was sent
 * for is dead, and so is what was older than a revocation that did not spare it; all else that was made lives, with the proof
 * that was written last.
 */
export function judge(race: Race, answers: readonly Answer[]): { verdict: Verdict; problems: string[] } {
  const problems: string[] = [];
  const made = new Set(race.sessions);
  const doomed = new Set<string>();
  const endings = new Map<string, number>();
  /** The proofs that were written, by session, in the order of the versions that they made. */
  const proofs = new Map<string, string[]>(race.sessions.map(id => [id, []]));
  const end = (id: string): unknown => endings.set(id, (endings.get(id) ?? 0) + 1);
  const write = (id: string, version: number, proof: string): void => {
    const written = proofs.get(id)!;
    if (written[version - 1] !== undefined) problems.push(`version ${version} of ${id} was written over twice`);
    written[version - 1] = proof;
  };

  for (const { operation, outcome } of answers) {
    const { did, on, makes } = race.operations[operation]!;
    const outcomes = Array.isArray(outcome) ? outcome : [];
    switch (did) {
      case 'update':
        if (outcomes[0] === 'updated') write(on, 1, firstProofOf(on));
        break;
      case 'rotate':
        for (const [step, proof] of makes.entries()) if (outcomes[step] === 'updated') write(on, 1 + step, proof);
        break;
      case 'delete':
        doomed.add(on);
        if (outcome === true) end(on);
        break;
      case 'evict':
        if (outcomes[0] !== undefined) doomed.add(outcomes[0]);
        if (outcomes[1] === 'ended') end(outcomes[0]!);
        break;
      case 'login':
        made.add(makes[0]!);
        proofs.set(makes[0]!, []);
        if (outcome !== true) problems.push(`${makes[0]!} was not made`);
        break;
      case 'revoke':
      case 'except':
        for (const id of race.sessions) if (did === 'revoke' || id !== on) doomed.add(id);
        for (const id of outcomes) end(id);
        if (did === 'except' && outcomes.includes(on)) problems.push(`${on} was ended although it was spared`);
        break;
      case 'touch':
    }
  }
  for (const [id, times] of endings) {
    if (times > 1) problems.push(`${id} was ended ${times} times`);
    if (!made.has(id)) problems.push(`${id} was ended and never made`);
  }
  for (const id of doomed)
    if (!endings.has(id)) problems.push(`${id} must be dead, and nobody was told to have ended it`);
  const isRevoked = race.operations.some(({ did }) => did === 'revoke' || did === 'except');
  for (const id of endings.keys())
    if (!doomed.has(id) && !isRevoked) problems.push(`${id} was ended, and nobody asked for that`);

  const isAlive = (id: string): boolean => !endings.has(id) && !doomed.has(id);
  const verdict = {
    race: race.number,
    alive: [...made].filter(isAlive).map(id => {
      const written = proofs.get(id) ?? [];
      return { id, version: 1 + written.length, proof: written.at(-1) ?? firstProofOf(id) };
    }),
    dead: [...made].filter(id => !isAlive(id)),
  };
  return { verdict, problems };
}
