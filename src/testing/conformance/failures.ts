import assert from 'node:assert/strict';
import type { SessionBackend } from '../../core/backend.js';
import type { SessionRecord } from '../../core/record.js';
import type { Sections } from './case.js';
import { create, HOUR, MINUTE, newId, START } from './records.js';

/** A record of each method's own, so that an answer does not depend on what another method did. */
interface Stored {
  read: SessionRecord;
  update: SessionRecord;
  touch: SessionRecord;
  delete: SessionRecord;
}

/** Stores what {@link assertNoneDenied} asks for. */
export async function storeOneForEach(backend: SessionBackend): Promise<Stored> {
  return {
    read: await create(backend, { principal: 'ada' }),
    update: await create(backend),
    touch: await create(backend),
    delete: await create(backend),
  };
}

/**
 * Asserts that no method answers as if a stored record were absent. It may reject, or answer rightly: a client that the
 * backend was given stays open when the backend is closed, and a cache may have the record.
 */
export async function assertNoneDenied(backend: SessionBackend, stored: Stored, when: string): Promise<void> {
  const { read, update, touch } = stored;
  const answers: Record<string, [call: () => Promise<unknown>, isAbsence: (answer: unknown) => boolean]> = {
    read: [() => backend.read(read.id), answer => answer === undefined],
    listByPrincipal: [() => backend.listByPrincipal('ada'), answer => (answer as unknown[]).length === 0],
    create: [() => backend.create({ ...read, id: newId() }), answer => answer !== true],
    touch: [() => backend.touch(touch.id, START + MINUTE, START + 2 * HOUR), answer => answer !== true],
    update: [() => backend.update({ ...update, data: '{"n":1}' }, 1), answer => answer !== 'updated'],
    delete: [() => backend.delete(stored.delete.id), answer => answer !== true],
    deleteByPrincipal: [() => backend.deleteByPrincipal('ada'), answer => (answer as unknown[]).length === 0],
  };
  for (const [method, [call, isAbsence]] of Object.entries(answers)) {
    let answer: unknown;
    try {
      answer = await call();
    } catch {
      continue;
    }
    assert.ok(!isAbsence(answer), `${when}, ${method} answered ${JSON.stringify(answer)} instead of rejecting`);
  }
}

/** @param cutOff cuts a backend off from its engine */
export function failuresAfter(cutOff: (backend: SessionBackend) => unknown): Sections {
  return {
    'an engine that cannot be reached': {
      'is an error of every method, and nothing that is stored counts as absent': async ({ backend }) => {
        const stored = await storeOneForEach(backend);
        await cutOff(backend);
        await assertNoneDenied(backend, stored, 'cut off from its engine');
      },
    },
  };
}
