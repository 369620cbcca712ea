import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { open as openLmdb } from 'lmdb';

import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { findingsOf, type StoreFinding } from '../../src/core/findings.js';
import type { SessionRecord } from '../../src/core/record.js';
import { openInProcess } from '../../src/testing/index.js';
import { forkModule } from '../support/child.js';
import { sessionRecord } from '../support/session-record.js';
import { mountSmallDisk, unmountSmallDisks } from '../support/small-disk.js';

const work = mkdtempSync(path.join(tmpdir(), 'rcs-lmdb-operation-'));
const children: ChildProcess[] = [];
const opened: LmdbBackend[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child, 'SIGKILL');
  for (const backend of opened.splice(0)) await backend.close();
});
afterAll(() => {
  unmountSmallDisks();
  rmSync(work, { recursive: true });
});

let folders = 0;
const newFolder = () => path.join(work, `store-${folders++}`);
const record = (changes: Partial<SessionRecord> = {}) => sessionRecord({ principal: 'ada', ...changes });

function open(folder: string): LmdbBackend {
  const backend = new LmdbBackend({ path: folder });
  opened.push(backend);
  return backend;
}

function fork(...args: Parameters<typeof forkModule>): ChildProcess {
  const child = forkModule(...args);
  children.push(child);
  return child;
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise(resolve => child.once('exit', resolve));
  child.kill(signal);
  await exited;
}

/** A process that has taken a snapshot and keeps it. */
async function holder(folder: string): Promise<ChildProcess> {
  const child = fork('hold-snapshot', [folder]);
  await new Promise(resolve => child.once('message', resolve));
  return child;
}

const sizeOf = (folder: string) => statSync(path.join(folder, 'data.mdb')).size;
const check = (backend: LmdbBackend): Promise<StoreFinding[]> => findingsOf(backend)!();
const codes = async (backend: LmdbBackend) => (await check(backend)).map(({ code }) => code);

/** Writes one record anew so often. */
async function write(backend: LmdbBackend, first: SessionRecord, times: number, from = 1): Promise<number> {
  for (let n = 0; n < times; n++) expect(await backend.update({ ...first, data: `${n}` }, from + n)).toBe('updated');
  return from + times;
}

describe('a process that has the folder open', () => {
  it('and is killed while it has a snapshot lets the file grow for 100 writes at most', async () => {
    const folder = newFolder();
    const backend = open(folder);
    const first = record();
    await backend.create(first);
    let version = await write(backend, first, 300);
    const steady = sizeOf(folder);
    const child = await holder(folder);
    await ended(child, 'SIGKILL');
    version = await write(backend, first, 1_500, version);
    // 24 kB a write, as long as the snapshot counts.
    expect(sizeOf(folder) - steady).toBeLessThan(100 * 40_000);
    const grown = sizeOf(folder);
    await write(backend, first, 500, version);
    expect(sizeOf(folder)).toBe(grown);
  });

  it('and is stopped while it has a snapshot is found, with its id', async () => {
    const folder = newFolder();
    const backend = open(folder);
    const first = record();
    await backend.create(first);
    const child = await holder(folder);
    child.kill('SIGSTOP');
    const version = await write(backend, first, 50);
    expect(await codes(backend)).not.toContain('LMDB_READER');
    await write(backend, first, 100, version);
    const finding = (await check(backend)).find(({ code }) => code === 'LMDB_READER');
    expect(finding?.message).toMatch(
      new RegExp(`process ${child.pid} keeps a snapshot that is 1\\d\\d transactions old`),
    );
    await ended(child, 'SIGKILL');
    expect(await codes(backend)).not.toContain('LMDB_READER');
  });

  it('has no snapshot open between its calls, so that it may be stopped', async () => {
    const folder = newFolder();
    const child = fork('serve-lmdb');
    const backend = await openInProcess(child, folder);
    const first = record();
    await backend.create(first);
    await backend.read(first.id);
    await backend.listByPrincipal('ada');
    await backend.deleteByPrincipal('nobody');
    child.kill('SIGSTOP');
    const looking = openLmdb({ path: folder, noSubdir: false });
    const rows = looking.readerList().split('\n');
    const own = rows.filter(row => row.trim().startsWith(`${child.pid} `));
    expect(own.length).toBeGreaterThan(0);
    for (const row of own) expect(row.trim().endsWith('-')).toBe(true);
    await looking.close();
  });
});

describe('a full disk', () => {
  it('can be freed: log-outs, a sweep and revocations work, and log-ins do again', async () => {
    const disk = mountSmallDisk(newFolder(), 24);
    if (disk === undefined) return;
    // In a process of its own, as lmdb.test.ts says.
    const child = fork('serve-lmdb', [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const backend = await openInProcess(child, path.join(disk, 'store'));
    // Another program takes most of it.
    writeFileSync(path.join(disk, 'log'), Buffer.alloc(18 * 1024 * 1024));
    const kept: SessionRecord[] = [];
    let failure: Error | undefined;
    for (let n = 0; failure === undefined; n++) {
      const next = record({
        data: 'x'.repeat(300),
        expiresAt: n < 50 ? 1 : 10,
        principal: n % 2 === 0 ? 'ada' : 'bob',
      });
      await backend.create(next).then(
        () => kept.push(next),
        (error: unknown) => (failure = error as Error),
      );
    }
    expect(failure.message).toMatch(/the disk of .* is full/);
    for (const { id } of kept.slice(-1_500)) expect(await backend.delete(id)).toBe(true);
    expect(await backend.deleteExpired(1)).toBe(50);
    expect((await backend.deleteByPrincipal('ada')).length).toBeGreaterThan(1_000);
    const late = record();
    expect(await backend.create(late)).toBe(true);
    expect((await backend.deleteByPrincipal('bob')).length).toBeGreaterThan(1_000);
    expect(await backend.read(late.id)).toEqual(late);
    await backend.close();
  });

  it('that is nearly full is found', async () => {
    const disk = mountSmallDisk(newFolder(), 4);
    if (disk === undefined) return;
    const findings = await check(open(path.join(disk, 'store')));
    expect(findings).toMatchObject([{ code: 'LMDB_DISK', message: expect.stringContaining(disk) as string }]);
  });

  it('keeps a reserve only where there is room for it', async () => {
    const folder = newFolder();
    const backend = open(folder);
    expect(statSync(path.join(folder, 'reserve')).size).toBe(2 * 1024 * 1024);
    rmSync(path.join(folder, 'reserve'));
    await backend.deleteExpired(1);
    expect(existsSync(path.join(folder, 'reserve'))).toBe(true);
  });
});

describe('check()', () => {
  it('finds nothing in a folder that is as it should be', async () => {
    expect(await check(open(newFolder()))).toEqual([]);
  });

  it('finds a folder that can no longer be written', async () => {
    const folder = newFolder();
    const backend = open(folder);
    rmSync(folder, { recursive: true });
    expect(await codes(backend)).toEqual(['LMDB_FOLDER']);
  });
});

describe('backup', () => {
  const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8);

  it('is a folder that opens and has every session that was there, taken while others are written', async () => {
    const folder = newFolder();
    const backend = open(folder);
    const before = Array.from({ length: 500 }, (_, n) =>
      record({ createdAt: n, principal: n % 2 === 0 ? 'ada' : 'bob' }),
    );
    await Promise.all(before.map(each => backend.create(each)));
    const copy = newFolder();
    const copying = backend.backup(copy);
    const meanwhile = Array.from({ length: 200 }, () => backend.create(record({ principal: 'later' })));
    await copying;
    expect(new Set(await Promise.all(meanwhile))).toEqual(new Set([true]));
    expect(readdirSync(copy)).toEqual(['data.mdb']);
    expect([copy, path.join(copy, 'data.mdb')].map(modeOf)).toEqual(['700', '600']);
    expect(readdirSync(work).filter(name => name.includes('partial'))).toEqual([]);

    const restored = open(copy);
    for (const each of before) expect(await restored.read(each.id)).toEqual(each);
    const newest = before.filter(({ principal }) => principal === 'ada').toReversed();
    expect(await restored.listByPrincipal('ada', 10)).toEqual(newest.slice(0, 10));
    expect((await restored.deleteByPrincipal('ada')).length).toBe(250);
    expect((await backend.listByPrincipal('ada')).length).toBe(250);
  });

  it('is as small as what is in it: removed sessions leave no room behind', async () => {
    const folder = newFolder();
    const backend = open(folder);
    await Promise.all(Array.from({ length: 3_000 }, () => backend.create(record({ data: 'x'.repeat(1_000) }))));
    await backend.deleteByPrincipal('ada');
    await backend.create(record());
    const copy = newFolder();
    await backend.backup(copy);
    expect(sizeOf(folder)).toBeGreaterThan(3_000_000);
    // The log of changes names those that were removed.
    expect(sizeOf(copy)).toBeLessThan(200_000);
  });

  it('overwrites nothing, and leaves nothing behind when it fails', async () => {
    const backend = open(newFolder());
    const taken = newFolder();
    mkdirSync(taken);
    writeFileSync(path.join(taken, 'mine'), 'x');
    await expect(backend.backup(taken)).rejects.toThrow(`backup: ${taken} could not be made`);
    expect(readdirSync(taken)).toEqual(['mine']);
    expect(readdirSync(work).filter(name => name.includes('partial'))).toEqual([]);
    const empty = newFolder();
    mkdirSync(empty);
    chmodSync(empty, 0o755);
    await backend.backup(empty);
    expect(modeOf(empty)).toBe('700');
    await backend.close();
    await expect(backend.backup(newFolder())).rejects.toThrow('LmdbBackend is closed');
  });
});
