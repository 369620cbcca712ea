import { setTimeout as wait } from 'node:timers/promises';
import type { SessionBackend } from '../../src/core/backend.js';
import type { SessionRecord } from '../../src/core/record.js';
import { sessionRecord } from '../support/session-record.js';
import { firstProofOf, raceOf, type Answer, type Operation, type Race, type Verdict } from './race-plan.js';

const HOUR = 3_600_000;

/** What one process has found after a race. */
export interface Findings {
  /** Ids that were ended and are there. */
  survivors: string[];
  problems: string[];
}

/** Milliseconds, by a clock that the processes of a machine share. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** One process's part in races. */
export class RaceRunner {
  readonly #start = Date.now();

  /** @param part which process this is */
  constructor(
    private readonly backend: SessionBackend,
    private readonly part: number,
    private readonly run: string,
    private readonly seed: number,
  ) {}

  /** Makes the sessions that are raced for. */
  async setUp(numbers: readonly number[]): Promise<void> {
    await Promise.all(
      numbers.flatMap(number => {
        const { principal, sessions } = raceOf(this.run, this.seed, number);
        return sessions.map(id => this.backend.create(this.#record(id, principal)));
      }),
    );
  }

  /** Does its part in each of these races at once, when the shared clock says `at`. */
  async race(numbers: readonly number[], at: number): Promise<Answer[][]> {
    const races = numbers.map(number => raceOf(this.run, this.seed, number));
    await wait(Math.max(0, at - sharedNow()));
    return Promise.all(races.map(race => this.#takePart(race)));
  }

  /** Looks at what is left of races, and tries to write to what is dead. */
  async verify(verdicts: readonly Verdict[]): Promise<Findings[]> {
    return Promise.all(verdicts.map(verdict => this.#verify(verdict)));
  }

  async #takePart(race: Race): Promise<Answer[]> {
    const mine = [...race.operations.entries()].filter(([, { by }]) => by === this.part);
    return Promise.all(
      mine.map(async ([number, operation]) => {
        for (let turns = operation.turns; turns > 0; turns--) await new Promise(resolve => setImmediate(resolve));
        const began = sharedNow();
        const outcome = await this.#do(operation, race.principal);
        return { operation: number, outcome, began, ended: sharedNow() };
      }),
    );
  }

  async #do({ did, on, makes }: Operation, principal: string): Promise<Answer['outcome']> {
    const { backend } = this;
    const record = this.#record(on, principal);
    switch (did) {
      case 'update':
        return [await backend.update({ ...record, data: '{"n":1}' }, 1)];
      case 'touch':
        return backend.touch(on, record.lastSeenAt + 1000, record.expiresAt + HOUR);
      case 'rotate':
        return this.#rotate(record, makes);
      case 'delete':
        return backend.delete(on);
      case 'revoke':
        return [...(await backend.deleteByPrincipal(principal))];
      case 'except':
        return [...(await backend.deleteByPrincipal(principal, on))];
      case 'evict':
        return this.#evict(principal);
      case 'login':
        return backend.create(this.#record(makes[0]!, principal));
    }
  }

  async #rotate(record: SessionRecord, proofs: readonly string[]): Promise<Answer['outcome']> {
    const outcomes = [];
    for (const [step, proof] of proofs.entries()) {
      const outcome = await this.backend.update({ ...record, proof }, 1 + step);
      outcomes.push(outcome);
      if (outcome !== 'updated') break;
    }
    return outcomes;
  }

  async #evict(principal: string): Promise<Answer['outcome']> {
    const listed = await this.backend.listByPrincipal(principal);
    const [oldest] = [...listed].sort((a, b) => a.lastSeenAt - b.lastSeenAt);
    if (!oldest) return [];
    return (await this.backend.delete(oldest.id)) ? [oldest.id, 'ended'] : [oldest.id];
  }

  async #verify({ race: number, alive, dead }: Verdict): Promise<Findings> {
    const { backend } = this;
    const { principal, sessions } = raceOf(this.run, this.seed, number);
    const problems: string[] = [];
    const survivors = await this.#found(dead);
    for (const { id, version, proof } of alive) {
      const found = await backend.read(id);
      if (!found) problems.push(`${id} is lost`);
      else if (found.version !== version || found.proof !== proof)
        problems.push(`${id} has version ${found.version} and ${found.proof}, and should have ${version} and ${proof}`);
    }
    const listed = (await backend.listByPrincipal(principal)).map(({ id }) => id).sort();
    const expected = alive.map(({ id }) => id).sort();
    if (listed.join() !== expected.join())
      problems.push(`the index of ${principal} has ${listed.join()}, alive are ${expected.join()}`);

    const late = sessions.find(id => dead.includes(id));
    if (late === undefined || survivors.length > 0) return { survivors, problems };
    const record = this.#record(late, principal);
    const answers = [
      await backend.update(record, 1),
      await backend.touch(late, record.lastSeenAt + 2000, record.expiresAt + HOUR),
      await backend.update({ ...record, proof: 'late' }, 2),
    ];
    if (answers.join() !== 'gone,false,gone') problems.push(`late writes to ${late} were answered ${answers.join()}`);
    survivors.push(...(await this.#found([late])));
    return { survivors, problems };
  }

  async #found(ids: readonly string[]): Promise<string[]> {
    const records = await Promise.all(ids.map(id => this.backend.read(id)));
    return ids.filter((_, n) => records[n]);
  }

  #record(id: string, principal: string): SessionRecord {
    return sessionRecord({ id, principal, data: '{"n":0}', proof: firstProofOf(id), createdAt: this.#start });
  }
}
