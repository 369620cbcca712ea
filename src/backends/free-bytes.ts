import { statfsSync } from 'node:fs';

/** Returns the bytes that are left for this process on the disk of a folder. */
export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
