import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { open as openLmdb } from 'lmdb';

import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { openInProcess } from '../../src/testing/index.js';
import { forkModule } from '../support/child.js';
import { counted, rounds } from '../support/rounds.js';
import { sessionRecord } from '../support/session-record.js';

const work = mkdtempSync(path.join(tmpdir(), 'rcs-lmdb-processes-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill();
  rmSync(work, { recursive: true });
});

let folders = 0;
const newFolder = () => path.join(work, `store-${folders++}`);

function fork(...args: Parameters<typeof forkModule>): ChildProcess {
  const child = forkModule(...args);
  children.push(child);
  return child;
}

/** Returns the answer of a child to a message, or how it ended instead. */
function answerOf(child: ChildProcess, message: string): Promise<string> {
  return new Promise(resolve => {
    const onExit = (code: number | null, signal: string | null): void => resolve(`ended with ${signal ?? code}`);
    child.once('exit', onExit);
    child.once('message', answer => {
      child.off('exit', onExit);
      resolve(answer as string);
    });
    child.send(message);
  });
}

describe('the memory map', () => {
  it('has its size from the start, and keeps it while the file grows', async () => {
    const folder = newFolder();
    const backend = new LmdbBackend({ path: folder });
    const looking = openLmdb({ path: folder, noSubdir: false, overlappingSync: false });
    const mapSize = () => (looking.getStats() as { mapSize: number }).mapSize;
    const size = mapSize();
    for (let n = 0; n < 40; n++) await backend.create(sessionRecord({ data: 'x'.repeat(100_000) }));
    expect(statSync(path.join(folder, 'data.mdb')).size).toBeGreaterThan(4_000_000);
    expect(mapSize()).toBe(size);
    await looking.close();
    await backend.close();
  });

  const ROUNDS = rounds(30);
  it(`of ${counted(ROUNDS)} folders, each filled by two processes at once, ends neither process`, async () => {
    const pair = [fork('grow-lmdb'), fork('grow-lmdb')];
    const wrong: string[] = [];
    let done = 0;
    for (; done < ROUNDS && wrong.length === 0; done++) {
      const folder = newFolder();
      const answers = await Promise.all(pair.map(child => answerOf(child, folder)));
      wrong.push(...answers.filter(answer => answer !== ''));
      rmSync(folder, { recursive: true });
    }
    expect({ done, wrong }).toEqual({ done: ROUNDS, wrong: [] });
  }, 600_000);

  it('is smaller where the address space is limited, so that the folder opens', async () => {
    const child = fork('serve-lmdb', [], {
      execPath: '/bin/sh',
      execArgv: ['-c', 'ulimit -v 8388608; exec "$0" "$@"', process.execPath],
    });
    const backend = await openInProcess(child, newFolder());
    const record = sessionRecord();
    await backend.create(record);
    expect(await backend.read(record.id)).toEqual(record);
    await backend.close();
  });
});
