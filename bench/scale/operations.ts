import type { SessionBackend, SessionRecord } from 'routing-controllers-sessions';

import { spreadOf } from '../statistics.js';
import { atOnce, FEW, MANY, type Population } from './population.js';

export const OPERATIONS = ['read', 'create', 'delete', 'list 10', 'revoke 10', 'list 1,000'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Runs of each operation for its median. Listing a thousand sessions and ending ten run a tenth as often. */
const TIMES = 300;

/** Faults that were found; empty if there are none. */
export interface OperationTimes {
  /** Medians, in microseconds. */
  medians: Record<Operation, number>;
  violations: string[];
}

/** Measures each operation alone, and removes what it made. */
export async function timeOperations(backend: SessionBackend, population: Population): Promise<OperationTimes> {
  const violations: string[] = [];
  const expect = (holds: boolean, what: string) => {
    if (!holds) violations.push(what);
  };
  const made = Array.from({ length: TIMES }, (_, n) => population.newRecord(`new-${n}`));
  const listOf =
    ({ principal, sessions }: typeof FEW) =>
    async () =>
      expect((await backend.listByPrincipal(principal)).length === sessions, `not all ${sessions} are listed`);
  const steps: Record<Operation, () => Promise<number>> = {
    read: () =>
      median(TIMES, async n => {
        const id = population.known[(n * 7919) % population.known.length] ?? '';
        expect((await backend.read(id)) !== undefined, 'a living session is not found');
      }),
    create: () => median(TIMES, async n => expect(await backend.create(made[n]!), 'an id is taken')),
    delete: () => median(TIMES, async n => expect(await backend.delete(made[n]!.id), 'a new session is gone')),
    'list 10': () => median(TIMES, listOf(FEW)),
    'revoke 10': () => revoke(backend, population, expect),
    'list 1,000': () => median(TIMES / 10, listOf(MANY)),
  };
  const medians: Partial<Record<Operation, number>> = {};
  for (const name of OPERATIONS) medians[name] = await steps[name]();
  return { medians: medians as Record<Operation, number>, violations };
}

async function revoke(
  backend: SessionBackend,
  population: Population,
  expect: (holds: boolean, what: string) => void,
): Promise<number> {
  const principals = Array.from({ length: TIMES / 10 }, (_, n) => `revoked-${n}`);
  const records: SessionRecord[] = principals.flatMap(principal =>
    Array.from({ length: FEW.sessions }, () => population.newRecord(principal)),
  );
  await atOnce(records.length, async n => expect(await backend.create(records[n]!), 'an id is taken'));
  return median(principals.length, async n => {
    const ended = await backend.deleteByPrincipal(principals[n]!);
    expect(ended.length === FEW.sessions, `${ended.length} of ${FEW.sessions} were ended`);
  });
}

async function median(times: number, work: (n: number) => Promise<void>): Promise<number> {
  const taken: number[] = [];
  for (let n = 0; n < times; n++) {
    const begun = performance.now();
    await work(n);
    taken.push((performance.now() - begun) * 1000);
  }
  return spreadOf(taken).median;
}
