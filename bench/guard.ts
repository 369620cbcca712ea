import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { BENCH } from './folders.js';
import { buildOf, here } from './guard/build.js';
import { cpuRatios, type Figures, figuresOf } from './guard/readings.js';
import { NAMES, SCENARIOS } from './guard/scenarios.js';
import { pinGenerator } from './launch.js';
import { spread, table } from './markdown.js';

/*
 * Fails when a request on a hot path allocates 15 % more bytes, or makes one promise more, than the kept figures say, or than
 * another commit does, to which the CPU time is compared, too:
 *
 *     node scripts/bench.mjs guard [--write | COMMIT]
 */

const BASELINE = join(BENCH, 'results', 'guard.json');

/** How much more than before is let pass. A promise is never half. */
const BYTES_ALLOWED = 1.15;
const PROMISES_ALLOWED = 0.5;

/** Bytes and promises depend on Node, whose HTTP server and garbage collector change. */
const NODE = process.version.replace(/\..*/, '');

type Baselines = Partial<Record<string, Figures>>;

async function main([argument]: readonly string[]): Promise<void> {
  // The processes that are measured run alone on the other core.
  pinGenerator();
  if (argument === undefined) return compareWithKept();
  if (argument === '--write') return keep();
  if (argument.startsWith('-')) throw new Error(`${argument}: no such option; there are --write and a commit`);
  return compareWithCommit(argument);
}

async function compareWithKept(): Promise<void> {
  const kept = baselines()[NODE];
  if (kept) judge(await figuresOf(here), kept);
  else say(`There are no figures of Node ${NODE} to compare with. --write keeps some.`);
}

async function compareWithCommit(commit: string): Promise<void> {
  const other = buildOf(commit);
  try {
    judge(await figuresOf(here), await figuresOf(other));
    const rows = [];
    for (const name of NAMES) {
      const { ratio, control } = await cpuRatios(here, other, name);
      rows.push([SCENARIOS[name].title, spread(ratio, 2), spread(control, 2)]);
    }
    say(`\n${table(['added CPU', `this to ${commit}`, 'this to itself'], rows)}`);
  } finally {
    other.remove();
  }
}

/** Prints the figures of this build beside others, and fails the process when there is too much of something. */
function judge(figures: Figures, before: Figures): void {
  const rows = NAMES.map(name => {
    const [now, then] = [figures[name], before[name]];
    const isMore = now.bytes > then.bytes * BYTES_ALLOWED || now.promises > then.promises + PROMISES_ALLOWED;
    if (isMore) process.exitCode = 1;
    return [
      SCENARIOS[name].title,
      String(now.bytes),
      String(then.bytes),
      (now.bytes / then.bytes).toFixed(3),
      String(now.promises),
      String(then.promises),
      isMore ? 'too much' : '',
    ];
  });
  say(table(['a request adds', 'bytes', 'before', 'ratio', 'promises', 'before', ''], rows));
  if (process.exitCode === 1)
    say(
      '\nIf it has to be: `npm run bench:guard -- --write` keeps these figures for comparison, and the commit says why.',
    );
}

async function keep(): Promise<void> {
  const figures = await figuresOf(here);
  writeFileSync(BASELINE, `${JSON.stringify({ ...baselines(), [NODE]: figures }, undefined, 2)}\n`);
  say(`written to ${BASELINE}`);
}

function baselines(): Baselines {
  return JSON.parse(readFileSync(BASELINE, 'utf8')) as Baselines;
}

function say(what: string): void {
  process.stdout.write(`${what}\n`);
}

void main(process.argv.slice(2));
