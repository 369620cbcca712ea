import { accessSync, closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { SessionConfigurationError } from '../../core/errors.js';
import { freeBytes } from '../free-bytes.js';
import { EARLIER_FORMAT, FORMAT, LAYOUT } from './layout.js';
import { mapSize } from './map-size.js';

const ROOM_TO_OPEN = 1024 * 1024;

/** LMDB would make its files readable for others, as far as the umask allows. An existing file keeps its mode. */
const PRIVATE = { permissionsMode: 0o600 };

/**
 * Opens the database in a folder, which is made if it does not exist.
 *
 * @throws SessionConfigurationError when the folder cannot be used, is on a full disk or holds other data
 */
export function openRoot(folder: string): RootDatabase<string, Buffer> {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new SessionConfigurationError(`path: ${folder} ${problem}`, { cause });
  };
  let canBeOpened: boolean;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const file of ['data.mdb', 'lock.mdb']) assertUsable(path.join(folder, file));
    canBeOpened = isNewOrLmdb(path.join(folder, 'data.mdb'));
  } catch (error) {
    return refuse(
      `cannot be used: ${messageOf(error)}. It has to be a folder that this process may read and write`,
      error,
    );
  }
  const free = freeBytes(folder);
  // Writing to a mapped file on a full disk ends the process.
  if (free < ROOM_TO_OPEN) refuse(`is on a disk that is full (${free} bytes are left)`);
  if (!canBeOpened) refuse('has a data.mdb that is no LMDB database. Give the sessions a folder of their own');

  let root: RootDatabase<string, Buffer>;
  try {
    root = open<string, Buffer>({
      ...LAYOUT,
      ...PRIVATE,
      path: folder,
      noSubdir: false,
      mapSize: mapSize(),
      // A commit is complete only when it has reached the disk.
      overlappingSync: false,
      // With batching, a commit that fails also rejects an internal promise of lmdb that cannot be caught: the process would
      // end.
      eventTurnBatching: false,
    });
  } catch (error) {
    return refuse(`cannot be opened as an LMDB database: ${messageOf(error)}`, error);
  }
  const format = root.transactionSync(() => {
    const key = Buffer.from('format');
    if (root.getKeysCount({ limit: 1 }) === 0 || root.get(key) === EARLIER_FORMAT) void root.put(key, FORMAT);
    return root.get(key);
  });
  if (format !== FORMAT) {
    void root.close();
    return refuse(
      `holds another database${format === undefined ? '' : ` (${format})`}: give the sessions a folder of their own`,
    );
  }
  return root;
}

/**
 * Throws when a file cannot be read and written, or made. It is not opened for that: a process that closes any descriptor of
 * `lock.mdb` loses all its locks on it. The next process to open the folder would make the file anew, under those who use it.
 */
function assertUsable(file: string): void {
  accessSync(existsSync(file) ? file : path.dirname(file), constants.R_OK | constants.W_OK);
}

/** Returns whether a file is an LMDB database, or is yet to be made. lmdb crashes when it opens anything else. */
function isNewOrLmdb(file: string): boolean {
  if (!existsSync(file)) return true;
  for (let looks = 1; ; looks++) {
    const { size, isMarked } = headOf(file);
    if (size === 0 || (size >= 2 * SMALLEST_PAGE && isMarked)) return true;
    // Another process that makes it at this moment has written one of the two pages.
    if (!isMarked || looks === MOST_LOOKS) return false;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_INTERVAL);
  }
}

/** Milliseconds, and for how many of them a file may be too short. */
const LOOK_INTERVAL = 10;
const MOST_LOOKS = 100;

function headOf(file: string): { size: number; isMarked: boolean } {
  const head = Buffer.alloc(32);
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    readSync(descriptor, head);
    return { size, isMarked: head.readUInt32LE(24) === LMDB_MAGIC && head.readUInt32LE(28) === LMDB_VERSION };
  } finally {
    closeSync(descriptor);
  }
}

const SMALLEST_PAGE = 4096;
const LMDB_MAGIC = 0xbeefc0de;
const LMDB_VERSION = 2;

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
