import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
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

function anotherCopy(): typeof LmdbBackend {
  let copy = LmdbBackend;
  jest.isolateModules(() => {
    copy = jest.requireActual<{ LmdbBackend: typeof LmdbBackend }>('../../src/backends/lmdb/backend.js').LmdbBackend;
  });
  return copy;
}

describe('a folder that is opened twice in one process', () => {
  it.each(['the library', 'another copy of the library'])(
    'by %s keeps its locks when another process opens it',
    async by => {
      const folder = newFolder();
      const first = new LmdbBackend({ path: folder });
      const record = sessionRecord({ principal: 'ada' });
      await first.create(record);
      expect(await first.read(record.id)).toEqual(record);
      const Backend = by === 'the library' ? LmdbBackend : anotherCopy();
      expect(Backend === LmdbBackend).toBe(by === 'the library');
      const second = new Backend({ path: folder });
      const elsewhere = await openInProcess(fork('serve-lmdb'), folder);
      // It took the entry of the first one in the table of snapshots, which it had made anew.
      for (const backend of [elsewhere, first, second]) {
        expect(await backend.read(record.id)).toEqual(record);
        expect(await backend.listByPrincipal('ada')).toEqual([record]);
      }
      for (const backend of [elsewhere, second, first]) await backend.close();
    },
  );

  const TIMES = rounds(100);
  it(`while a write is under way does not stop the process: ${counted(TIMES)} times`, async () => {
    const child = fork('handle-lmdb');
    expect(await answerOf(child, `open-again ${TIMES} ${newFolder()}`)).toBe(`stored ${TIMES}`);
  }, 60_000);

  it('has what a handle was told before it was closed, and is open for the others', async () => {
    const folder = newFolder();
    const [first, second] = [new LmdbBackend({ path: folder }), new LmdbBackend({ path: path.join(folder, '.') })];
    const records = Array.from({ length: 20 }, () => sessionRecord());
    const writes = records.map(record => first.create(record));
    const closing = first.close();
    const third = new LmdbBackend({ path: folder });
    await closing;
    expect(new Set(await Promise.all(writes))).toEqual(new Set([true]));
    await second.close();
    for (const record of records) expect(await third.read(record.id)).toEqual(record);
    await expect(second.read('x')).rejects.toThrow('LmdbBackend is closed');
    await third.close();
  });
});

const BACKUPS = rounds(20);
it(`close waits for a backup, and does not end the process: ${counted(BACKUPS)} times`, async () => {
  const child = fork('handle-lmdb');
  expect(await answerOf(child, `close-during-backup ${BACKUPS} ${newFolder()}`)).toBe(`copied ${BACKUPS}`);
}, 120_000);

describe('a data file that has only the first of its two pages', () => {
  const FIRST_PAGE = 4096;
  /** Returns the folder and the whole file. */
  async function cutShort(): Promise<[string, string, Buffer]> {
    const folder = newFolder();
    await new LmdbBackend({ path: folder }).close();
    const file = path.join(folder, 'data.mdb');
    const whole = readFileSync(file);
    truncateSync(file, FIRST_PAGE);
    return [folder, file, whole];
  }

  it('is waited for, because another process makes it', async () => {
    const [folder, file, whole] = await cutShort();
    const wait = jest.spyOn(Atomics, 'wait').mockImplementation(() => {
      writeFileSync(file, whole);
      return 'timed-out';
    });
    try {
      await new LmdbBackend({ path: folder }).close();
      expect(wait).toHaveBeenCalledTimes(1);
    } finally {
      wait.mockRestore();
    }
  });

  it('is refused in the end, because LMDB would end the process', async () => {
    const [folder] = await cutShort();
    const wait = jest.spyOn(Atomics, 'wait').mockReturnValue('timed-out');
    try {
      expect(() => new LmdbBackend({ path: folder })).toThrow(/has a data.mdb that is no LMDB database/);
    } finally {
      wait.mockRestore();
    }
  });
});
