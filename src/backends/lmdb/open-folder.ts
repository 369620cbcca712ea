import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import { openRoot } from './folder.js';
import { CHANGES, LAYOUT } from './layout.js';

/** The folders that this process has open. */
const folders = new Map<string, OpenFolder>();

/**
 * A folder that this process has open: once, for all backends on it. Opening it takes the lock of the writes, and stops the
 * thread until it has it. A write under way in the same thread, through another opening, would never give it up.
 */
export class OpenFolder {
  readonly root: RootDatabase<string, Buffer>;
  readonly records: Database<string, Buffer>;
  /** Hash of the principal, the instant of the log-in, then the key of the record; no values. */
  readonly byPrincipal: Database<string, Buffer>;
  /** Instant of expiry, then the key of the record; no values. */
  readonly byExpiry: Database<string, Buffer>;
  readonly changes: Database<Buffer, Buffer>;
  readonly #identity: string;
  #handles = 0;

  /**
   * Returns a folder, for one handle more. It is made if it does not exist.
   *
   * @throws SessionConfigurationError when the folder cannot be used, is on a full disk or holds other data
   */
  static open(folder: string): OpenFolder {
    const identity = identityOf(folder);
    const opened = (identity === undefined ? undefined : folders.get(identity)) ?? new OpenFolder(folder);
    opened.#handles++;
    return opened;
  }

  private constructor(folder: string) {
    this.root = openRoot(folder);
    this.records = this.root.openDB('records', LAYOUT);
    this.byPrincipal = this.root.openDB('by-principal', LAYOUT);
    this.byExpiry = this.root.openDB('by-expiry', LAYOUT);
    this.changes = this.root.openDB('changes', CHANGES);
    this.#identity = identityOf(folder) ?? folder;
    folders.set(this.#identity, this);
  }

  /** Ends one handle, which writes no more, when its writes are done. The last one closes the folder. */
  async close(): Promise<void> {
    // Until they are done, another opening would stop the thread that has to finish them.
    await Promise.allSettled([this.root.committed]);
    if (--this.#handles > 0) return;
    folders.delete(this.#identity);
    await this.root.close();
  }
}

/** Returns what a folder is known by, whatever path leads to it. `undefined`: it is yet to be made, or cannot be used. */
function identityOf(folder: string): string | undefined {
  const file = path.join(folder, 'lock.mdb');
  if (!existsSync(file)) return undefined;
  const { dev, ino } = statSync(file, { bigint: true });
  return `${dev}:${ino}`;
}
