/*
 * Runs all tests, or those that the arguments of Jest select, records every token that they make, and searches the output for
 * these tokens. Exits with the code of the tests, or with 1 when the output has a secret or a MAC of a token.
 *
 *     node scripts/no-tokens-in-output.mjs [jest arguments]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const jest = createRequire(import.meta.url).resolve('jest/bin/jest');

/** The parts of each token: a secret or a MAC alone must not be printed either. */
function halvesOf(tokens) {
  return new Set(tokens.flatMap(token => token.split('.')));
}

/** Every secret and MAC that occurs in a text, whatever surrounds it. */
function tokensIn(text, tokens) {
  const halves = halvesOf(tokens);
  const found = new Set();
  for (const [run] of text.matchAll(/[\w-]{43,}/g)) {
    for (let at = 0; at + 43 <= run.length; at++) {
      const candidate = run.slice(at, at + 43);
      if (halves.has(candidate)) found.add(candidate);
    }
  }
  return [...found];
}

function run(args, log) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [jest, ...args], {
      cwd: root,
      env: { ...process.env, RCS_TOKEN_LOG: log },
      stdio: ['inherit', 'pipe', 'pipe'],
    });
    let output = '';
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from.setEncoding('utf8').on('data', chunk => {
        output += chunk;
        to.write(chunk);
      });
    }
    child.on('error', reject).on('close', code => resolve({ code: code ?? 1, output }));
  });
}

async function main() {
  const log = mkdtempSync(join(tmpdir(), 'rcs-tokens-'));
  try {
    const { code, output } = await run(process.argv.slice(2), log);
    const files = readdirSync(log).map(file => readFileSync(join(log, file), 'utf8'));
    const tokens = files.flatMap(text => text.split('\n').filter(line => line !== ''));
    const found = tokensIn(output, tokens);
    // A search that finds nothing at all would report 0 for ever, so each run has it find one token.
    const searches = tokens.length > 0 && tokensIn(`printed: session=${tokens.at(-1)};`, tokens).length === 2;
    console.log(
      `${tokens.length} tokens made, ${found.length} of their halves in ${output.length} characters of output`,
    );
    if (!searches) console.error('The run made no token, or the search does not work: nothing was checked.');
    for (const half of found)
      console.error(`In the output: ${half.slice(0, 6)}… (cut here, so as not to print it again)`);
    process.exitCode = code !== 0 ? code : found.length > 0 || !searches ? 1 : 0;
  } finally {
    rmSync(log, { recursive: true, force: true });
  }
}

await main();
