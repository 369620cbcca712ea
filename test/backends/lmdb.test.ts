import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { open as openLmdb } from 'lmdb';
import { LmdbBackend } from '../../src/backends/lmdb/backend.js';
import { Pace } from '../../src/backends/pace.js';
import { atOnceOf } from '../../src/core/at-once.js';
import type { SessionBackend } from '../../src/core/backend.js';
import { isSessionRecord, type SessionRecord } from '../../src/core/record.js';
import { describeSessionBackend, openInProcess } from '../../src/testing/index.js';
import { RACES, raceTimeout } from '../support/campaign.js';
import { forkModule } from '../support/child.js';
import { until } from '../support/engines.js';
import { sessionRecord } from '../support/session-record.js';
import { mountSmallDisk, unmountSmallDisks } from '../support/small-disk.js';
import '../support/short-waits.js';

const work = mkdtempSync(path.join(tmpdir(), 'rcs-lmdb-'));
const children = [forkModule('serve-lmdb'), forkModule('serve-lmdb')];
afterAll(() => {
  unmountSmallDisks();
  for (const child of children) child.kill();
  rmSync(work, { recursive: true });
});

let folders = 0;
const folderOf = new WeakMap<SessionBackend, string>();
function open(): LmdbBackend {
  const folder = path.join(work, `store-${folders++}`);
  const backend = new LmdbBackend({ path: folder });
  folderOf.set(backend, folder);
  return backend;
}

let turn = 0;
describeSessionBackend('LmdbBackend, shared by three processes', open, {
  races: RACES,
  timeout: raceTimeout,
  openAgain: first => openInProcess(children[turn++ % children.length]!, folderOf.get(first)!),
});

describe('LmdbBackend', () => {
  const folder = () => path.join(work, `own-${folders++}`);
  const record = (changes: Partial<SessionRecord> = {}): SessionRecord => sessionRecord({ expiresAt: 2, ...changes });
  const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8);

  it('keeps its files from everybody else, whatever the umask is', async () => {
    const umask = process.umask(0);
    const made = path.join(folder(), 'inner');
    const backend = new LmdbBackend({ path: made });
    process.umask(umask);
    await backend.create(record());
    expect(readdirSync(made).sort()).toEqual(['data.mdb', 'lock.mdb', 'reserve']);
    expect([made, path.join(made, 'data.mdb'), path.join(made, 'lock.mdb')].map(modeOf)).toEqual(['700', '600', '600']);
    await backend.close();
  });

  it('takes a folder with a dot in its name for a folder', async () => {
    const made = `${folder()}.v1.mdb`;
    const backend = new LmdbBackend({ path: made });
    await backend.close();
    expect(statSync(made).isDirectory()).toBe(true);
  });

  it('opened twice in one process is one store, and each handle closes alone', async () => {
    const made = folder();
    const [first, second] = [new LmdbBackend({ path: made }), new LmdbBackend({ path: made })];
    const kept = record();
    await first.create(kept);
    await first.close();
    expect(await second.read(kept.id)).toEqual(kept);
    expect(await second.delete(kept.id)).toBe(true);
    await second.close();
  });

  it('decodes a record again once another handle has changed it, and each read has a copy of its own', async () => {
    const shared = folder();
    const [backend, other] = [new LmdbBackend({ path: shared }), new LmdbBackend({ path: shared })];
    const stored = record({ principal: 'ada' });
    const readTwice = async () => {
      const copies = [await backend.read(stored.id), await backend.read(stored.id)];
      for (const copy of copies) if (copy) Object.assign(copy, { proof: 'spoilt' });
      return [await backend.read(stored.id), atOnceOf(backend)?.read(stored.id)];
    };
    await other.create(stored);
    expect(await readTwice()).toEqual([stored, stored]);
    const touched = { ...stored, lastSeenAt: stored.lastSeenAt + 1, expiresAt: 3 };
    await other.touch(stored.id, touched.lastSeenAt, touched.expiresAt);
    expect(await readTwice()).toEqual([touched, touched]);
    const updated = { ...touched, proof: 'another', version: 2 };
    await other.update(updated, 1);
    expect(await readTwice()).toEqual([updated, updated]);
    await other.delete(stored.id);
    expect(await readTwice()).toEqual([undefined, undefined]);
    await other.create(stored);
    expect(await readTwice()).toEqual([stored, stored]);
    await Promise.all([backend.close(), other.close()]);
  });

  it('after close rejects every call', async () => {
    const backend = new LmdbBackend({ path: folder() });
    await backend.close();
    await expect(backend.read('x')).rejects.toThrow('LmdbBackend is closed');
    await expect(backend.create(record())).rejects.toThrow('LmdbBackend is closed');
    await expect(backend.deleteExpired(1)).rejects.toThrow('LmdbBackend is closed');
  });

  it('close during a sweep ends it after the batch, and the sweep returns the number of removed records', async () => {
    const made = folder();
    const backend = new LmdbBackend({ path: made });
    await Promise.all(Array.from({ length: 240 }, () => backend.create(record())));
    const rest = jest.spyOn(Pace.prototype, 'rest').mockImplementation(() => backend.close());
    const removed = await backend.deleteExpired(2);
    rest.mockRestore();
    expect(removed).toBeGreaterThan(0);
    const again = new LmdbBackend({ path: made });
    expect(removed + (await again.deleteExpired(2))).toBe(240);
    await again.close();
    expect(removed).toBeLessThan(240);
  });

  it('rests between the batches of a sweep, and not after the last one', async () => {
    const backend = new LmdbBackend({ path: folder() });
    await Promise.all(Array.from({ length: 240 }, () => backend.create(record())));
    const rest = jest.spyOn(Pace.prototype, 'rest').mockResolvedValue();
    expect(await backend.deleteExpired(2)).toBe(240);
    expect(rest).toHaveBeenCalledTimes(2);
    expect(await backend.deleteExpired(2)).toBe(0);
    expect(rest).toHaveBeenCalledTimes(2);
    rest.mockRestore();
    await backend.close();
  });

  it('ends many sessions of one user in transactions of 150, so that other writes come in between', async () => {
    const backend = new LmdbBackend({ path: folder() });
    await Promise.all(Array.from({ length: 2_100 }, () => backend.create(record({ principal: 'ada' }))));
    const sizes: number[] = [];
    const between: Promise<boolean>[] = [];
    const late: SessionRecord[] = [];
    const ended = await backend.deleteByPrincipal('ada', undefined, ids => {
      sizes.push(ids.length);
      const one = record({ principal: 'ada' });
      late.push(one);
      between.push(backend.create(one));
    });
    expect([ended.length, sizes.length, Math.max(...sizes)]).toEqual([2_100, 14, 150]);
    // A log-in that overlaps the call counts as later.
    expect(new Set(await Promise.all(between))).toEqual(new Set([true]));
    expect((await backend.listByPrincipal('ada')).length).toBe(late.length);
    await backend.close();
  });

  it('a revocation whose process goes away half-way keeps what it has done, and the next one ends the rest', async () => {
    const made = folder();
    const backend = new LmdbBackend({ path: made });
    await Promise.all(Array.from({ length: 300 }, () => backend.create(record({ principal: 'ada' }))));
    let closed: Promise<void> | undefined;
    const named: string[] = [];
    const revoking = backend.deleteByPrincipal('ada', undefined, ids => {
      named.push(...ids);
      closed = backend.close();
    });
    await expect(revoking).rejects.toThrow('LmdbBackend is closed');
    await closed;
    const again = new LmdbBackend({ path: made });
    expect((await again.listByPrincipal('ada')).length).toBe(300 - named.length);
    expect((await again.deleteByPrincipal('ada')).length + named.length).toBe(300);
    expect(await again.listByPrincipal('ada')).toEqual([]);
    await again.close();
  });

  it('rejects an id that is longer than the contract allows, and stores nothing of it', async () => {
    const backend = new LmdbBackend({ path: folder() });
    await expect(backend.create(record({ id: 'x'.repeat(1025), principal: 'ada' }))).rejects.toThrow(RangeError);
    expect(await backend.listByPrincipal('ada')).toEqual([]);
    expect(await backend.deleteExpired(Infinity)).toBe(0);
    await backend.close();
  });

  it('returns a foreign record in a form that the library refuses', async () => {
    const made = folder();
    const backend = new LmdbBackend({ path: made });
    for (const [n, text] of [
      '',
      'null',
      '{}',
      's1 1 2 3 [\n',
      's1 1 2 3 []\nx',
      's1 -1 a b [null,1,1,null,null,"",0]\n{}',
      's1 1 2 3 [null,1,1,null,null,"",1]\n{',
      's1 1 2 3 [null,1,1,null,null,7,0]\n{}',
      '1 2 3 [null,1,1,null,null,0]\n{}',
      's2 1 2 3 [null,1,1,null,null,"",0]\n{}',
    ].entries()) {
      await put(made, `id-${n}`, text);
      const found = await backend.read(`id-${n}`);
      expect(found).toBeDefined();
      expect(isSessionRecord(found, `id-${n}`)).toBe(false);
      expect(await backend.create(record({ id: `id-${n}` }))).toBe(false);
      expect(await backend.delete(`id-${n}`)).toBe(true);
      expect(await backend.read(`id-${n}`)).toBeUndefined();
    }
    await backend.close();
  });

  it('entries left over from records that cannot be read do not stop the sweep: 300 of them, and 10 expired records', async () => {
    const made = folder();
    const backend = new LmdbBackend({ path: made });
    for (let n = 0; n < 300; n++) {
      await backend.create(record({ id: `broken-${n}`, expiresAt: 1_000 + n }));
      await put(made, `broken-${n}`, 'not a record');
      if (n % 2 === 0) await backend.delete(`broken-${n}`);
    }
    for (let n = 0; n < 10; n++) await backend.create(record({ id: `late-${n}`, expiresAt: 5_000 }));
    expect(await backend.deleteExpired(6_000)).toBe(150 + 10);
    expect(await backend.deleteExpired(6_000)).toBe(0);
    await backend.close();
  });

  describe('refuses, with a SessionConfigurationError that names the folder,', () => {
    const refusal = (folder: string, message: string) =>
      expect(() => new LmdbBackend({ path: folder })).toThrow(
        expect.objectContaining({
          code: 'ERR_SESSION_CONFIG',
          message: expect.stringMatching(`^path: ${folder} .*${message}`),
        }),
      );

    it('a path that is a file', () => {
      const file = folder();
      writeFileSync(file, 'x');
      refusal(file, 'cannot be used');
    });

    it('a folder with a data file that is not an LMDB database', () => {
      const made = folder();
      mkdirSync(made);
      writeFileSync(path.join(made, 'data.mdb'), 'something else '.repeat(1000));
      refusal(made, 'has a data.mdb that is no LMDB database');
      expect(readdirSync(made)).toContain('data.mdb');
    });

    it("a folder with another program's LMDB database, which stays unchanged", async () => {
      const made = folder();
      const other = openLmdb({ path: made, noSubdir: false });
      await other.put('theirs', 'kept');
      await other.close();
      refusal(made, 'holds another database');
      const again = openLmdb({ path: made, noSubdir: false });
      expect([...again.getKeys()]).toEqual(['theirs']);
      expect(again.get('theirs')).toBe('kept');
      await again.close();
    });

    it('a folder with an unknown layout', async () => {
      const made = folder();
      await new LmdbBackend({ path: made }).close();
      await put(made, 'format', 'routing-controllers-sessions 1', { root: true });
      refusal(made, 'holds another database .routing-controllers-sessions 1.');
    });

    it('a folder that this process may not write to', async () => {
      const made = folder();
      await new LmdbBackend({ path: made }).close();
      chmodSync(path.join(made, 'data.mdb'), 0o444);
      chmodSync(path.join(made, 'lock.mdb'), 0o444);
      chmodSync(made, 0o555);
      // Root may write anywhere, so that it takes a process of somebody else to see it.
      const child =
        process.getuid?.() === 0 ? forkModule('serve-lmdb', [], { uid: 65534, gid: 65534 }) : forkModule('serve-lmdb');
      try {
        await expect(openInProcess(child, made)).rejects.toThrow(/^path: .* cannot be used: EACCES.*read and write/);
      } finally {
        child.kill();
        chmodSync(made, 0o755);
      }
    });
  });

  it.each([
    [undefined, "LmdbBackend: undefined; write new LmdbBackend({ path: './data/sessions' })"],
    ['./data', 'LmdbBackend: a string; write new LmdbBackend({'],
    [{}, 'LmdbBackend: path: undefined; write a folder for the sessions'],
    [{ path: '' }, 'LmdbBackend: path: an empty string; write a folder for the sessions'],
    [{ path: '/tmp/x', pathh: 1 }, 'LmdbBackend: pathh: no such option; write path'],
  ])('refuses the options %j', (options, message) => {
    expect(() => new LmdbBackend(options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_SESSION_CONFIG', message: expect.stringContaining(message) }),
    );
  });

  // In a process of its own: lmdb keeps state in the process, and jest gives each test file another copy of lmdb. What the
  // copies of earlier files left there let a full disk end the worker with all its tests.
  it('a full disk rejects the write with the reason and loses no record, and the store works again once there is room', async () => {
    const disk = mountSmallDisk(folder(), 4);
    if (!disk) return;
    const child = forkModule('serve-lmdb', [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    children.push(child);
    let printed = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (printed += text));
    const elsewhere = await openInProcess(child, folder());
    const backend = await openInProcess(child, path.join(disk, 'store'));
    const kept: SessionRecord[] = [];
    let failure: unknown;
    for (let n = 0; n < 1000 && failure === undefined; n++) {
      const next = record({ data: 'x'.repeat(60_000), principal: 'ada' });
      await backend.create(next).then(
        () => kept.push(next),
        (error: unknown) => (failure = error),
      );
    }
    expect(String(failure)).toMatch(/LmdbBackend could not write: the disk of .* is full/);
    // It comes on another way than the answer, and may come later.
    await until(() => printed !== '', 'the reason, which lmdb prints when a commit failed');
    for (const each of kept) expect(await backend.read(each.id)).toEqual(each);
    expect((await backend.listByPrincipal('ada')).length).toBe(kept.length);
    await expect(openInProcess(child, path.join(disk, 'another'))).rejects.toThrow(/is on a disk that is full/);
    expect(await elsewhere.create(record())).toBe(true);
    execFileSync('mount', ['-o', 'remount,size=64m', disk]);
    const late = record();
    expect(await backend.create(late)).toBe(true);
    expect(await backend.read(late.id)).toEqual(late);
    await backend.close();
    await elsewhere.close();
    expect(child.exitCode).toBeNull();
    const ended = new Promise(resolve => child.once('exit', resolve));
    child.kill();
    await ended;
  });
});

/** Writes into the database behind the backend's back. */
async function put(folder: string, key: string, value: string, { root = false } = {}): Promise<void> {
  const layout = { keyEncoding: 'binary', encoding: 'string' } as const;
  const database = openLmdb<string, Buffer>({ ...layout, path: folder, noSubdir: false, overlappingSync: false });
  if (root) await database.put(Buffer.from(key), value);
  else
    await database
      .openDB<string, Buffer>('records', layout)
      .put(Buffer.concat([Buffer.of(1), Buffer.from(key)]), value);
  await database.close();
}
