import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { BENCH, ROOT } from '../folders.js';

const BUILT = join(BENCH, 'build', 'bench');

/** A build of the library, and the benchmark beside it. */
export interface Build {
  /** The folder of the compiled benchmark, whose servers import that build. */
  bench: string;
  remove: () => void;
}

/** The library as it was built here. */
export const here: Build = { bench: BUILT, remove: () => undefined };

/**
 * Builds the library as it was in a commit, with the packages that are installed here.
 *
 * @throws Error when there is no such commit, or it does not build
 */
export function buildOf(commit: string): Build {
  const folder = join(mkdtempSync(join(tmpdir(), 'sessions-guard-')), 'commit');
  const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  const remove = () => {
    rmSync(join(folder, '..'), { recursive: true, force: true });
    git('worktree', 'prune');
  };
  try {
    git('worktree', 'add', '--quiet', '--detach', folder, commit);
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: folder, stdio: 'inherit' });
    // Outside the folder with a package.json of its own, the name of the library means the one around it.
    const bench = join(folder, 'build', 'bench');
    cpSync(BUILT, bench, { recursive: true });
    return { bench, remove };
  } catch (error) {
    remove();
    throw error;
  }
}
