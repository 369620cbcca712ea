import { readFileSync } from 'node:fs';

/** Bytes. More than sessions ever take: it costs address space only, no memory and no room on the disk. */
const LARGE = 64 * 1024 ** 3;

/** The part of a limited address space that one map may take. */
const PART = 1 / 8;

/**
 * Returns the size of the memory map in bytes, one that never has to be enlarged.
 *
 * lmdb enlarges a map that is too small without a lock, from two threads: that of JavaScript when a read begins, and that of the
 * writes. When both do so at once, lmdb notes the new size for the old map, and `close` unmaps memory that belongs to others: the
 * process ends with SIGSEGV. It also does when the map does not fit into a limited address space (`ulimit -v`).
 */
export function mapSize(): number {
  return Math.min(LARGE, Math.floor(addressSpace() * PART));
}

/** Returns the limit of this process in bytes. Only Linux tells of one, and enforces it. */
function addressSpace(): number {
  let limits: string;
  try {
    limits = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return Infinity;
  }
  const [, bytes] = /^Max address space +(\d+) /m.exec(limits) ?? [];
  return bytes === undefined ? Infinity : Number(bytes);
}
