import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import type { RootDatabase } from 'lmdb';
import type { StoreFinding } from '../../core/findings.js';
import { freeBytes } from '../free-bytes.js';
import { messageOf } from './folder.js';

/** Bytes below which the disk counts as nearly full. */
const LITTLE_ROOM = 64 * 1024 * 1024;

/** The number of transactions after which a snapshot is not one of a read under way. */
const OLD = 100;

/** Looks at the folder, its disk, and the other processes that have it open. */
export function findingsOfFolder(folder: string, root: RootDatabase<string, Buffer>): StoreFinding[] {
  const findings: StoreFinding[] = [];
  const find = (code: string, problem: string, advice: string): void =>
    void findings.push({ code: `LMDB_${code}`, message: `LmdbBackend: ${problem}`, advice });

  try {
    for (const file of ['', 'data.mdb', 'lock.mdb'])
      accessSync(path.join(folder, file), constants.R_OK | constants.W_OK);
    const free = freeBytes(folder);
    if (free < LITTLE_ROOM)
      find('DISK', `${free} bytes are left on the disk of ${folder}`, 'Make room there: log-ins fail once it is full');
  } catch (error) {
    find(
      'FOLDER',
      `${folder} cannot be written: ${messageOf(error)}`,
      'Give this process the right to read and write it',
    );
  }

  root.readerCheck();
  for (const { pid, lag } of snapshotsOf(root))
    if (lag > OLD)
      find(
        'READER',
        `process ${pid} keeps a snapshot that is ${lag} transactions old, so that no room is used again and the file grows`,
        'Let that process go on, or end it',
      );
  return findings;
}

/** The snapshots that processes have open, and the number of transactions since each was taken. */
function snapshotsOf(root: RootDatabase<string, Buffer>): { pid: number; lag: number }[] {
  const { lastTxnId } = root.getStats() as { lastTxnId: number };
  root.resetReadTxn();
  const rows = root.readerList().matchAll(/^\s*(\d+)\s+[0-9a-f]+\s+(\d+)\s*$/gm);
  return Array.from(rows, ([, pid, transaction]) => ({ pid: Number(pid), lag: lastTxnId - Number(transaction) }));
}
