import { createHash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, openSync, readSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { SessionBackend, type WriteOutcome } from '../../core/backend.js';
import { SessionConfigurationError } from '../../core/errors.js';
import type { SessionRecord } from '../../core/record.js';
import { refuseUnknown } from '../options.js';
import { Pace, RESTS_OF_A_DISK } from '../pace.js';
import { decodeRecord, encodeRecord, isWellFormed } from '../record-text.js';

/** Options of {@link LmdbBackend}. */
export interface LmdbBackendOptions {
  /** The folder for the sessions, which have it to themselves. Made, with mode 0700, if it is not there. */
  path: string;
}

/** What a folder of ours says of itself. A change of the layout below needs another one. */
const FORMAT = 'routing-controllers-sessions 1';

/** The contract's limit. With it, index keys stay below LMDB's own limit of 1,978 bytes. */
const LONGEST_ID = 1024;

/** How many expired records one transaction removes: about a millisecond's work. */
const SWEEP_BATCH = 50;

/** With less of it free, in bytes, a write that failed has failed for that: no transaction of ours needs more. */
const ROOM_TO_WRITE = 4 * 1024 * 1024;

const ROOM_TO_OPEN = 1024 * 1024;

/** The first byte of an id as a key: what the others are. */
const UTF_8 = 1;
const UTF_16 = 2;

/**
 * Sessions in an embedded database, LMDB: durable, and shared by all processes of one machine that open the same folder.
 * There is nothing to install and nothing to start.
 *
 * When a write's promise resolves, it has reached the disk. A record and its entries in both indexes, by principal and by
 * expiry, change in one transaction. The folder must lie on a disk of this machine: LMDB's locks do not work on network
 * file systems.
 *
 * ```ts
 * Container.set(SessionBackend, new LmdbBackend({ path: './data/sessions' }));
 * ```
 */
export class LmdbBackend extends SessionBackend {
  readonly #folder: string;
  readonly #root: RootDatabase<string, Buffer>;
  readonly #records: Database<string, Buffer>;
  /** Hash of the principal, then the key of the record; no values. */
  readonly #byPrincipal: Database<string, Buffer>;
  /** Instant of expiry, then the key of the record; no values. */
  readonly #byExpiry: Database<string, Buffer>;
  #closing: Promise<void> | undefined;

  /**
   * @throws SessionConfigurationError when `path` is missing, is no folder, cannot be read and written, or holds something
   *   else than sessions
   */
  constructor(options: LmdbBackendOptions) {
    super();
    const { path: folder, ...unknown } = options;
    refuseUnknown('LmdbBackend', unknown, 'path');
    if (typeof folder !== 'string' || folder === '') {
      throw new SessionConfigurationError("path: a folder for the sessions is needed, such as './data/sessions'");
    }
    this.#folder = path.resolve(folder);
    this.#root = openFolder(this.#folder);
    this.#records = this.#root.openDB('records', LAYOUT);
    this.#byPrincipal = this.#root.openDB('by-principal', LAYOUT);
    this.#byExpiry = this.#root.openDB('by-expiry', LAYOUT);
  }

  async create(record: SessionRecord): Promise<boolean> {
    const row = toRow(record);
    return this.#write(() => {
      if (this.#find(row.key)) return false;
      this.#add(row);
      return true;
    });
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#read(() => this.#find(toKey(id))?.record);
  }

  /** @internal Not where `read` was overridden, or is being watched: whoever did that wants to be asked. */
  override peek(id: string): SessionRecord | undefined {
    return this.read === ownRead ? this.#look(() => this.#find(toKey(id))?.record) : undefined;
  }

  async update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    const row = toRow({ ...record, version: expectedVersion + 1 });
    return this.#write(() => {
      const stored = this.#find(row.key);
      if (!stored) return 'gone';
      if (stored.record.version !== expectedVersion) return 'conflict';
      this.#remove(stored);
      this.#add(row);
      return 'updated';
    });
  }

  async touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const key = toKey(id);
    return this.#write(() => {
      const stored = this.#find(key);
      if (!stored) return false;
      if (lastSeenAt > stored.record.lastSeenAt) {
        this.#remove(stored);
        this.#add({ key, record: { ...stored.record, lastSeenAt, expiresAt } });
      }
      return true;
    });
  }

  async replace(oldId: string, record: SessionRecord): Promise<WriteOutcome> {
    const oldKey = toKey(oldId);
    const row = toRow(record);
    return this.#write(() => {
      const stored = this.#find(oldKey);
      if (!stored) return 'gone';
      if (stored.record.version !== row.record.version - 1 || this.#find(row.key)) return 'conflict';
      this.#remove(stored);
      this.#add(row);
      return 'updated';
    });
  }

  async delete(id: string): Promise<boolean> {
    const key = toKey(id);
    return this.#write(() => {
      const stored = this.#find(key);
      if (stored) this.#remove(stored);
      return stored !== undefined;
    });
  }

  listByPrincipal(principal: string): Promise<SessionRecord[]> {
    return this.#read(() => this.#rowsOf(principal).map(({ record }) => record));
  }

  async deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    return this.#write(() => {
      const ended = this.#rowsOf(principal).filter(({ record }) => record.id !== exceptId);
      for (const row of ended) this.#remove(row);
      return ended.map(({ record }) => record.id);
    });
  }

  async deleteExpired(now: number): Promise<number> {
    let deleted = 0;
    const pace = new Pace(RESTS_OF_A_DISK);
    // Looked up before any transaction, so that a sweep which finds nothing keeps no other process from writing.
    if ((await this.#read(() => this.#expired(now, 1))).length === 0) return 0;
    for (;;) {
      const removed = await this.#write(() => {
        const rows = this.#expired(now, SWEEP_BATCH);
        for (const row of rows) this.#remove(row);
        return rows.length;
      });
      deleted += removed;
      if (removed < SWEEP_BATCH) return deleted;
      await pace.rest();
      if (this.#closing) return deleted;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#root.close();
    return this.#closing;
  }

  /**
   * LMDB would keep to the snapshot of its last read for about a millisecond. That another process has ended a session must
   * be seen at once.
   */
  #read<T>(look: () => T): Promise<T> {
    return new Promise(resolve => resolve(this.#look(look)));
  }

  #look<T>(look: () => T): T {
    if (this.#closing) throw new Error('LmdbBackend is closed');
    this.#root.resetReadTxn();
    return look();
  }

  /** All that `change` does is one transaction, which no write of this or another process comes between. */
  async #write<T>(change: () => T): Promise<T> {
    if (this.#closing) throw new Error('LmdbBackend is closed');
    try {
      return await this.#root.transaction(change);
    } catch (error) {
      throw await this.#explain(error);
    }
  }

  /** A commit that failed says why in a promise of its own, and calls a full disk an input/output error. */
  async #explain(error: unknown): Promise<unknown> {
    if (!(error instanceof Error && 'commitError' in error)) return error;
    const cause: unknown = await Promise.resolve(error.commitError).catch((reason: unknown) => reason);
    const free = freeBytes(this.#folder);
    const hint =
      free < ROOM_TO_WRITE ? `the disk of ${this.#folder} is full (${free} bytes are left)` : messageOf(cause);
    return new Error(`LmdbBackend could not write: ${hint}. Nothing of it was stored`, { cause });
  }

  #find(key: Buffer): Row | undefined {
    const text = this.#records.get(key);
    return text === undefined ? undefined : { key, record: decodeRecord(toId(key), text) };
  }

  #add({ key, record }: Row): void {
    void this.#records.put(key, encodeRecord(record));
    void this.#byExpiry.put(expiryKey(record.expiresAt, key), '');
    if (record.principal !== undefined) void this.#byPrincipal.put(indexKey(record.principal, key), '');
  }

  #remove({ key, record }: Row): void {
    void this.#records.remove(key);
    void this.#byExpiry.remove(expiryKey(record.expiresAt, key));
    if (record.principal !== undefined) void this.#byPrincipal.remove(indexKey(record.principal, key));
  }

  #rowsOf(principal: string): Row[] {
    const start = indexKey(principal);
    const rows: Row[] = [];
    for (const entry of this.#byPrincipal.getKeys({ start })) {
      if (!entry.subarray(0, start.length).equals(start)) break;
      const row = this.#find(Buffer.from(entry.subarray(start.length)));
      if (row) rows.push(row);
    }
    return rows;
  }

  #expired(now: number, limit: number): Row[] {
    const rows: Row[] = [];
    for (const entry of this.#byExpiry.getKeys({ limit })) {
      if (entry.readDoubleBE() > now) break;
      const row = this.#find(Buffer.from(entry.subarray(EXPIRY_BYTES)));
      if (row) rows.push(row);
    }
    return rows;
  }
}

// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const ownRead = LmdbBackend.prototype.read;

interface Row {
  key: Buffer;
  record: SessionRecord;
}

const LAYOUT = { keyEncoding: 'binary', encoding: 'string' } as const;

function openFolder(folder: string): RootDatabase<string, Buffer> {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new SessionConfigurationError(`path: ${folder} ${problem}`, { cause });
  };
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const file of ['data.mdb', 'lock.mdb']) makePrivate(path.join(folder, file));
  } catch (error) {
    refuse(`cannot be used: ${messageOf(error)}. It has to be a folder that this process may read and write`, error);
  }
  const free = freeBytes(folder);
  // Mapped files for which there is no room end the process when they are written to.
  if (free < ROOM_TO_OPEN) refuse(`is on a disk that is full (${free} bytes are left)`);
  if (!isLmdb(path.join(folder, 'data.mdb')))
    refuse('has a data.mdb that is no LMDB database. Give the sessions a folder of their own');

  let root: RootDatabase<string, Buffer>;
  try {
    root = open<string, Buffer>({
      ...LAYOUT,
      path: folder,
      noSubdir: false,
      // A commit is over when it has reached the disk, not before.
      overlappingSync: false,
      // With batching, a commit that fails also rejects a promise of lmdb's own that nobody can catch: the process would end.
      eventTurnBatching: false,
    });
  } catch (error) {
    return refuse(`cannot be opened as an LMDB database: ${messageOf(error)}`, error);
  }
  const format = root.transactionSync(() => {
    if (root.getKeysCount({ limit: 1 }) === 0) void root.put(Buffer.from('format'), FORMAT);
    return root.get(Buffer.from('format'));
  });
  if (format !== FORMAT) {
    void root.close();
    return refuse(
      `holds another database${format === undefined ? '' : ` (${format})`}: give the sessions a folder of their own`,
    );
  }
  return root;
}

/** LMDB would make its files readable for others, as far as the umask lets it. A file that is there keeps its mode. */
function makePrivate(file: string): void {
  closeSync(openSync(file, 'a+', 0o600));
}

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/** lmdb does not survive it when it is to open something else. A file that was just made is empty. */
function isLmdb(file: string): boolean {
  const head = Buffer.alloc(32);
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    readSync(descriptor, head);
    return (
      size === 0 ||
      (size >= 2 * SMALLEST_PAGE && head.readUInt32LE(24) === LMDB_MAGIC && head.readUInt32LE(28) === LMDB_VERSION)
    );
  } finally {
    closeSync(descriptor);
  }
}

const SMALLEST_PAGE = 4096;
const LMDB_MAGIC = 0xbeefc0de;
const LMDB_VERSION = 2;

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A copy: the transaction that stores it runs later. */
function toRow(record: SessionRecord): Row {
  return { key: toKey(record.id), record: { ...record } };
}

/** Ids are told apart byte for byte, and not all strings have bytes in UTF-8. The first byte also makes room for ''. */
function toKey(id: string): Buffer {
  const isText = isWellFormed(id);
  const bytes = Buffer.from(id, isText ? 'utf8' : 'utf16le');
  if (bytes.length > LONGEST_ID)
    throw new RangeError(`An id of ${bytes.length} bytes: at most ${LONGEST_ID} can be kept`);
  return Buffer.concat([Buffer.of(isText ? UTF_8 : UTF_16), bytes]);
}

function toId(key: Buffer): string {
  return key.toString(key[0] === UTF_8 ? 'utf8' : 'utf16le', 1);
}

/** Over UTF-16, so that principals which are no text do not become one another. */
function indexKey(principal: string, ...recordKey: Buffer[]): Buffer {
  return Buffer.concat([createHash('sha256').update(principal, 'utf16le').digest(), ...recordKey]);
}

const EXPIRY_BYTES = 8;

/** Doubles that are not negative are in the order of their bytes. */
function expiryKey(expiresAt: number, recordKey: Buffer): Buffer {
  const instant = Buffer.alloc(EXPIRY_BYTES);
  instant.writeDoubleBE(Math.max(0, expiresAt));
  return Buffer.concat([instant, recordKey]);
}
