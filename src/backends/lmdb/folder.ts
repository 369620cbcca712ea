import { closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { SessionConfigurationError } from '../../core/errors.js';
import { freeBytes } from '../free-bytes.js';
import { EARLIER_FORMAT, FORMAT, LAYOUT } from './layout.js';
import { mapSize } from './map-size.js';

const ROOM_TO_OPEN = 1024 * 1024;

/**
 * Opens the database in a folder, which is made if it does not exist.
 *
 * @throws SessionConfigurationError when the folder cannot be used, is on a full disk or holds other data
 */
export function openFolder(folder: string): RootDatabase<string, Buffer> {
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
  // Writing to a mapped file on a full disk ends the process.
  if (free < ROOM_TO_OPEN) refuse(`is on a disk that is full (${free} bytes are left)`);
  if (!isLmdb(path.join(folder, 'data.mdb')))
    refuse('has a data.mdb that is no LMDB database. Give the sessions a folder of their own');

  let root: RootDatabase<string, Buffer>;
  try {
    root = open<string, Buffer>({
      ...LAYOUT,
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
 * Creates a file with mode 0600. LMDB would make its files readable for others, as far as the umask allows. An existing file
 * keeps its mode.
 */
function makePrivate(file: string): void {
  closeSync(openSync(file, 'a+', 0o600));
}

/** Returns whether a file is an LMDB database, or empty and new. lmdb crashes when it opens anything else. */
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

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
