import { randomBytes } from 'node:crypto';
import type { SessionBackend } from '../../src/core/backend.js';
import { isSessionRecord, type SessionRecord } from '../../src/core/record.js';
import { sessionRecord } from '../support/session-record.js';

/** What a worker begins, and what it was then told is done. */
export interface Event {
  step: 'creating' | 'created' | 'rotating' | 'rotated' | 'ending' | 'ended';
  id: string;
  /** The proof that the session has after the step. */
  proof: string;
  principal: string;
}

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
  const { id, ...record } = recordOf(principal);
  const say = (step: Event['step'], proof: string): Promise<void> | void => tell({ step, id, proof, principal });
  await say('creating', record.proof);
  await backend.create({ id, ...record });
  await say('created', record.proof);
  const proof = newProof();
  await say('rotating', proof);
  if ((await backend.update({ id, ...record, proof }, 1)) !== 'updated')
    throw new Error('A rotation that nothing races was refused');
  await say('rotated', proof);
  // Every other session stays, to be found afterwards.
  if (id < 'V') return;
  await say('ending', proof);
  await backend.deleteByPrincipal(principal);
  await say('ended', proof);
}

function newProof(): string {
  return randomBytes(32).toString('base64url');
}

function recordOf(principal: string): SessionRecord {
  return sessionRecord({ principal, data: JSON.stringify({ filler: 'x'.repeat(300) }), createdAt: Date.now() });
}

export interface Findings {
  /** Sessions whose creation or rotation was answered and whose ending was not begun: each was found, with its proof. */
  kept: number;
  /** Sessions whose ending was answered: none was found. */
  ended: number;
  /** Proofs whose exchange was answered: none was found. */
  exchanged: number;
  /** Steps that were under way: done or not done, but whole. */
  open: number;
  violations: string[];
}

/** Compares what is in the store with what was told of it. */
export async function inspect(backend: SessionBackend, events: readonly Event[]): Promise<Findings> {
  const lives = new Map<string, Event[]>();
  for (const event of events) lives.set(event.principal, [...(lives.get(event.principal) ?? []), event]);
  const findings: Findings = { kept: 0, ended: 0, exchanged: 0, open: 0, violations: [] };

  for (const [principal, life] of lives) {
    const { step, id, proof } = life.at(-1)!;
    const found = await backend.read(id);
    const listed = (await backend.listByPrincipal(principal)).map(record => record.id);
    const violated = (problem: string): unknown => findings.violations.push(`${step}: ${problem}`);
    if (found && (!isSessionRecord(found, id) || found.principal !== principal)) violated(`half a record: ${id}`);
    if (listed.join() !== (found ? id : '')) violated(`the index has ${listed.length} of ${found ? 1 : 0}`);

    // Of a step that was under way either side is right.
    const allowed: Record<Event['step'], (string | undefined)[]> = {
      creating: [undefined, proof],
      created: [proof],
      rotating: [life.at(-2)?.proof, proof],
      rotated: [proof],
      ending: [proof, undefined],
      ended: [undefined],
    };
    if (!allowed[step].includes(found?.proof)) violated(found ? 'a proof that was exchanged' : `${id} is lost`);
    if (step === 'created' || step === 'rotated') findings.kept++;
    else if (step === 'ended') findings.ended++;
    else findings.open++;
    if (life.some(event => event.step === 'rotated')) findings.exchanged++;
  }
  return findings;
}
