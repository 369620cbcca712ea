import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '..');
const require = createRequire(import.meta.url);

/** The files of the command-line tools, which Node runs without a shell: the same on every system. */
const TOOLS = { tsc: 'typescript/bin/tsc', jest: 'jest/bin/jest' };

/**
 * Runs a file with Node, in the folder of the repository.
 *
 * @returns its exit code
 */
export function runFile(file, args = [], env = {}) {
  const { status } = spawnSync(process.execPath, [file, ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  return status ?? 1;
}

/** Runs a command-line tool that the repository is developed with. @returns its exit code */
export function runTool(tool, args = [], env = {}) {
  return runFile(require.resolve(TOOLS[tool]), args, env);
}

/** Compiles the library, and applications that see it through its exports. @returns the exit code */
export function compileWith(project) {
  return runTool('tsc', ['-b', 'tsconfig.build.json', project]) || runFile('scripts/bundle.mjs');
}

/**
 * Runs npm in the folder of the repository. On Windows npm is a script, which needs a shell.
 *
 * @returns its exit code
 */
export function runNpm(args) {
  const { status } = spawnSync('npm', args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
  return status ?? 1;
}
