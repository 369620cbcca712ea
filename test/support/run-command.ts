import { spawn } from 'node:child_process';
import path from 'node:path';

import { bundleModule } from './child.js';

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
  /** Milliseconds. */
  took: number;
}

/** The folder of an application that has all drivers. */
const APPLICATION = path.resolve(__dirname, '../..');

/** Runs the operators' command as a process of its own, without a terminal. */
export function runCommand(
  args: readonly string[],
  { store, cwd = APPLICATION, input = '' }: { store?: string; cwd?: string; input?: string } = {},
): Promise<Ran> {
  const { SESSION_STORE: _, NODE_OPTIONS: __, ...env } = process.env;
  const begun = performance.now();
  const child = spawn(process.execPath, [bundleModule('../../src/command/main'), ...args], {
    cwd,
    env: { ...env, NO_COLOR: '1', ...(store !== undefined && { SESSION_STORE: store }) },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', code => resolve({ code, stdout, stderr, took: performance.now() - begun }));
  });
}

/** Runs it with --json, and returns what it printed. */
export async function runForJson(
  args: readonly string[],
  store: string,
): Promise<{ code: number | null; json: unknown }> {
  const { code, stdout, stderr } = await runCommand([...args, '--json'], { store });
  if (!/^\{.*\}\n$/.test(stdout)) throw new Error(`not one line of JSON: ${stdout}${stderr}`);
  return { code, json: JSON.parse(stdout) };
}
