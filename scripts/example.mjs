/*
 * Compiles the library and the examples, and starts one, in its folder:
 *
 *     node scripts/example.mjs passwords|two-factors|oidc|spa|websocket
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

import { compileWith, root } from './run.mjs';

const examples = path.join(root, 'examples');
const names = readdirSync(examples).filter(name => existsSync(path.join(examples, name, 'server.ts')));
const [name] = process.argv.slice(2);
if (!names.includes(name)) {
  console.error(`Name an example: npm run example -- ${names.join('|')}`);
  process.exit(2);
}
console.log('Compiling the library and the examples …');
process.exitCode = compileWith('examples/tsconfig.json');
if (process.exitCode === 0) {
  const server = path.join(root, 'build/examples', name, 'server.js');
  const { status } = spawnSync(process.execPath, [server], { cwd: path.join(examples, name), stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
