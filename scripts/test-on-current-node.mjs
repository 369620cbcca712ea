// Runs most tests of `npm test` on the newest release of Node, whose binary comes from a registry package, and searches the
// output for every token that the run made.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { withoutSlowTests } from './slow-tests.mjs';

const root = path.resolve(import.meta.dirname, '..');
const place = path.join(root, '.cache', 'current-node');
const platform = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;

mkdirSync(place, { recursive: true });
execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', place, `node-${platform}@latest`], {
  stdio: 'inherit',
});
const bin = path.join(place, 'node_modules', `node-${platform}`, 'bin');
const env = { ...process.env, ROUNDS: 'few', PATH: `${bin}${path.delimiter}${process.env.PATH}` };
console.log(`Node ${execFileSync('node', ['--version'], { env, encoding: 'utf8' }).trim()}`);

const script = path.join(root, 'scripts', 'no-tokens-in-output.mjs');
/** What does not depend on the version of Node, or takes long and does what others do. */
const elsewhere = [
  'docs',
  'types',
  'testing',
  'openapi',
  'examples',
  'security/concurrency',
  'security/limits',
  'security/faults',
  'security/clock',
  'koa/own-options',
];
const left = elsewhere.map(name => `--testPathIgnorePatterns=<rootDir>/test/${name}`);
const options = ['--json', '--outputFile=build/test-results-current-node.json', ...withoutSlowTests, ...left];
execFileSync('node', [script, ...options, ...process.argv.slice(2)], { cwd: root, env, stdio: 'inherit' });
