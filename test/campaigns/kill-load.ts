import { randomBytes } from 'node:crypto';
import type { SessionBackend } from '../../src/core/backend.js';
import { isSessionRecord, type SessionRecord } from '../../src/core/record.js';

/** What a worker begins, and what it was then told is done. */
export type Event =
  | { step: 'creating' | 'created' | 'ending' | 'ended'; id: string; principal: string }
  | { step: 'rotating' | 'rotated'; id: string; next: string; principal: string };

const LANES = 8;

/** Makes, rotates and ends sessions, in several lanes at once, until `isOver` or the process is. */
export async function putUnderLoad(
  backend: SessionBackend,
  tell: (event: Event) => Promise<void> | void,
  isOver: () => boolean,
): Promise<void> {
  const lane = async (): Promise<void> => {
    while (!isOver()) {
      const principal = `user-${randomBytes(8).toString('hex')}`;
      // A step that is rejected may have been done or not: the next session is as good.
      await oneLife(backend, principal, tell).catch(() => new Promise(resolve => setTimeout(resolve, 5)));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function oneLife(
  backend: SessionBackend,
  principal: string,
  tell: (event: Event) => Promise<void> | void,
): Promise<void> {
  const record = recordOf(principal);
  await tell({ step: 'creating', id: record.id, principal });
  await backend.create(record);
  await tell({ step: 'created', id: record.id, principal });
  const next = { ...record, id: recordOf(principal).id, version: 2 };
  await tell({ step: 'rotating', id: record.id, next: next.id, principal });
  if ((await backend.replace(record.id, next)) !== 'updated')
    throw new Error('A rotation that nothing races was refused');
  await tell({ step: 'rotated', id: record.id, next: next.id, principal });
  // Every other session stays, to be found afterwards.
  if (next.id < 'V') return;
  await tell({ step: 'ending', id: next.id, principal });
  await backend.deleteByPrincipal(principal);
  await tell({ step: 'ended', id: next.id, principal });
}

function recordOf(principal: string): SessionRecord {
  const now = Date.now();
  const times = { createdAt: now, authenticatedAt: now, lastSeenAt: now, expiresAt: now + 3_600_000 };
  return {
    id: randomBytes(32).toString('base64url'),
    principal,
    data: JSON.stringify({ filler: 'x'.repeat(300) }),
    version: 1,
    ...times,
  };
}

export interface Findings {
  /** Sessions whose creation or rotation was answered and whose ending was not begun: each was found. */
  kept: number;
  /** Ids whose ending, or rotation to another id, was answered: none was found. */
  ended: number;
  /** Steps that were under way: done or not done, but whole. */
  open: number;
  violations: string[];
}

/** Compares what is in the store with what was told of it. */
export async function inspect(backend: SessionBackend, events: readonly Event[]): Promise<Findings> {
  const lives = new Map<string, Event>();
  for (const event of events) lives.set(event.principal, event);
  const findings: Findings = { kept: 0, ended: 0, open: 0, violations: [] };

  for (const [principal, last] of lives) {
    const ids = new Set(
      events
        .filter(event => event.principal === principal)
        .flatMap(event => ('next' in event ? [event.id, event.next] : [event.id])),
    );
    const alive: string[] = [];
    for (const id of ids) {
      const found = await backend.read(id);
      if (!found) continue;
      alive.push(id);
      if (!isSessionRecord(found, id) || found.principal !== principal)
        findings.violations.push(`half a record: ${id}`);
    }
    const listed = (await backend.listByPrincipal(principal)).map(({ id }) => id);
    if (listed.length !== alive.length || listed.some(id => !alive.includes(id)))
      findings.violations.push(`${last.step}: the index has ${listed.length} of ${alive.length}`);

    const expected = { created: [last.id], rotated: 'next' in last ? [last.next] : [], ended: [] as string[] };
    if (last.step in expected) {
      const right = expected[last.step as keyof typeof expected];
      if (alive.join() !== right.join())
        findings.violations.push(`${last.step}: ${alive.length} alive, ${right.length} expected`);
      findings.kept += right.length;
      findings.ended += ids.size - right.length;
    } else {
      findings.open++;
      if (alive.length > 1 || (last.step === 'rotating' && alive.length !== 1))
        findings.violations.push(`${last.step}: ${alive.length} alive`);
    }
  }
  return findings;
}
