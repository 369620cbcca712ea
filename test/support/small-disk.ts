import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

const mounted: string[] = [];

/**
 * Mounts a disk of so many MiB in memory at a new folder, and returns the folder. Only root can do that, and only on Linux:
 * elsewhere it says so on stderr and returns `undefined`.
 */
export function mountSmallDisk(disk: string, size: number): string | undefined {
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}m`, 'tmpfs', disk], { stdio: 'ignore' });
  } catch {
    process.stderr.write('No disk could be mounted here, so that a full one was not tested; run as root on Linux\n');
    return undefined;
  }
  mounted.push(disk);
  return disk;
}

/** Unmounts the disks, so that their folders can be removed. */
export function unmountSmallDisks(): void {
  for (const disk of mounted.splice(0)) execFileSync('umount', [disk]);
}
