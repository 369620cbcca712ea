import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { freePort, listens, until } from '../support/engines.js';
import { root } from './markdown.js';

/** The port that the documents' programs listen on. */
export const DOCUMENTED_PORT = '3000';

/** A program of a document that runs in a process of its own. */
export interface RunningProgram {
  port: string;
  /** What it wrote so far. */
  output(): string;
  stop(): Promise<void>;
}

/** Starts a program of a document, on a free port in place of the documented one, and waits until it listens. */
export async function startServer(javascript: string): Promise<RunningProgram> {
  const port = String(await freePort());
  writeFileSync(javascript, readFileSync(javascript, 'utf8').replaceAll(DOCUMENTED_PORT, port));
  const child = spawn(process.execPath, [javascript], { stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  const written = () => Buffer.concat(output).toString();
  await until(() => {
    if (child.exitCode !== null) throw new Error(`${javascript} ended before it listened:\n${written()}`);
    return listens(Number(port), 'localhost');
  }, `${javascript} to listen`);
  return { port, output: written, stop: () => stop(child) };
}

/** Runs a program of a document to its end. @returns what it wrote */
export function runToEnd(javascript: string): string {
  return execFileSync(process.execPath, [javascript], { encoding: 'utf8', env: environment(), timeout: 30_000 });
}

/** Runs a document's tests with jest, as a reader would. @returns what jest reported */
export function runJest(javascript: string): { status: number | null; report: string } {
  const jest = path.join(root, 'node_modules/jest/bin/jest.js');
  const config = { rootDir: path.dirname(javascript), testMatch: [javascript], transform: {}, testEnvironment: 'node' };
  const args = [jest, '--config', JSON.stringify(config), '--no-cache', '--runInBand'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env: environment() });
  return { status, report: stderr };
}

export function hasCurl(): boolean {
  return spawnSync('curl', ['--version']).status === 0;
}

/** Runs one line of a transcript. @returns what a reader would see on standard output */
export function runCommand(command: string, port: string, folder: string): Promise<string> {
  const child = spawn('sh', ['-c', command.replaceAll(`localhost:${DOCUMENTED_PORT}`, `localhost:${port}`)], {
    cwd: folder,
    // curl draws its progress there when it does not write to a terminal.
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...environment(), http_proxy: '', no_proxy: '*' },
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  return once(child, 'close').then(() => Buffer.concat(output).toString());
}

/** As in a shell of a reader: what this test run set for itself is none of the program's business. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_ENV: _, JEST_WORKER_ID: __, NODE_OPTIONS: ___, ...env } = process.env;
  return env;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, 'close');
}
