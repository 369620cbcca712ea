import { join } from 'node:path';

import { replaceIn, writeInto } from './document.js';
import { ROOT } from './folders.js';
import { versionList } from './markdown.js';
import { boundsTable, costTable } from './report.js';
import type { Results } from './results.js';

/** The rows of the short table in the README: the last is the control, the same server launched twice. */
const IN_README = [
  'bound',
  'ours-memory',
  'koa-memory',
  'fastify-memory',
  'express-memory',
  'ours-redis',
  'koa-redis',
  'ours-memory-again',
];

/**
 * Writes the figures of a run into the documents that quote them.
 *
 * @param report the name of the report that has all figures, if it was a run of everything
 */
export function writeFigures(results: Results, report: string | undefined): void {
  if (results.costs.length > 0) writeCosts(results);
  if (results.bounds.length > 0) writeInto(page('docs/comparison.md'), 'bounds', boundsTable(results).join('\n\n'));
  if (report !== undefined)
    replaceIn(
      page('docs/comparison.md'),
      /\[All figures\]\([^)]*\)/,
      () => `[All figures](../bench/results/${report}.md)`,
    );
}

function page(name: string): string {
  return join(ROOT, name);
}

function writeCosts(results: Results): void {
  const { costs } = results;
  const readOf = (id: string): string =>
    whole(costs.find(({ subject }) => subject.id === id)?.added.read.median ?? NaN);
  const reads = costs
    .filter(({ subject }) => subject.module === 'ours')
    .map(({ added }) => Math.round(added.read.median));
  const range = `${Math.min(...reads)} to ${Math.max(...reads)}`;
  const cores = [Math.min(...reads), Math.max(...reads)].map(read => String(read / 10)).join(' to ');

  const brief = IN_README.flatMap(id => costs.find(({ subject }) => subject.id === id) ?? []);
  writeInto(page('README.md'), 'cost', costTable(brief));
  const { machine, versions, date } = results;
  const circumstances =
    `Medians of the run of ${date.slice(0, 10)}: ${machine.cores} cores (${machine.cpu}), ${versionList(versions)}. The control is the last ` +
    'row: the same server, launched once more.';
  writeInto(page('docs/comparison.md'), 'cost', `${costTable(costs)}\n\n${circumstances}`);
  replaceIn(
    page('README.md'),
    /\[[-\d]+ µs of CPU time\](\([^)]*\)\s+in memory and) [-\d]+ µs with Redis/,
    (_, between = '') => `[${readOf('ours-memory')} µs of CPU time]${between} ${readOf('ours-redis')} µs with Redis`,
  );
  replaceIn(page('docs/not-offered.md'), /\[[-\d]+ to \d+ µs\]/, () => `[${range} µs]`);
  replaceIn(
    page('docs/capacity.md'),
    /at [-\d]+ to \d+ µs of CPU time for a session, 100,000 requests a second take [-\d.]+ to [\d.]+ cores/,
    () => `at ${range} µs of CPU time for a session, 100,000 requests a second take ${cores} cores`,
  );
}

/** Rounded, without a negative zero. */
function whole(value: number): string {
  return String(Math.round(value) + 0);
}
