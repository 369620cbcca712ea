// Runs the tests once more on the newest release of Node, whose binary a registry package carries, and searches what that
// run printed for every token that it made.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const place = path.join(root, '.cache', 'current-node');
const platform = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;

mkdirSync(place, { recursive: true });
execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', place, `node-${platform}@latest`], {
  stdio: 'inherit',
});
const bin = path.join(place, 'node_modules', `node-${platform}`, 'bin');
const env = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}` };
console.log(`Node ${execFileSync('node', ['--version'], { env, encoding: 'utf8' }).trim()}`);

// This run also searches what it printed for the tokens that it made; once is enough.
const script = path.join(root, 'scripts', 'no-tokens-in-output.mjs');
const options = ['--json', '--outputFile=build/test-results-current-node.json', ...process.argv.slice(2)];
execFileSync('node', [script, ...options], { cwd: root, env, stdio: 'inherit' });
