import { join } from 'node:path';

import { replaceIn, writeInto } from './document.js';
import { ROOT } from './folders.js';
import { table, versionList } from './markdown.js';
import { differencesOf, boundsTable } from './report.js';
import type { Results, SubjectResult } from './results.js';

/** The scenarios of the table in the documents. A request without a cookie costs too little to be told from nothing. */
const SHOWN = ['read', 'bad', 'login', 'update'] as const;

/** The rows of the short table in the README: the last is the control, the same server launched twice. */
const IN_README = [
  'bound',
  'ours-memory',
  'koa-memory',
  'fastify-memory',
  'express-memory',
  'ours-redis',
  'koa-redis',
  'memory-again',
];

/** Writes the figures of a run into the documents that quote them. */
export function writeFigures(results: Results, report: string): void {
  const page = (name: string) => join(ROOT, name);
  const rows = results.subjects.filter(({ subject, added }) => added && subject.controlOf === undefined);
  const reads = rows
    .filter(({ subject }) => subject.module === 'ours')
    .map(({ added }) => whole(added?.read.median ?? NaN));
  const range = `${Math.min(...reads)} to ${Math.max(...reads)}`;
  const cores = [Math.min(...reads), Math.max(...reads)].map(read => String(Math.round(read) / 10)).join(' to ');

  const brief = IN_README.flatMap(id => results.subjects.find(({ subject }) => subject.id === id) ?? []);
  writeInto(page('README.md'), 'cost', costTable(brief));
  writeInto(page('docs/comparison.md'), 'cost', costs(results, rows));
  writeInto(page('docs/comparison.md'), 'bounds', boundsTable(results).join('\n\n'));
  replaceIn(
    page('docs/comparison.md'),
    /\[All figures\]\([^)]*\)/,
    () => `[All figures](../bench/results/${report}.md)`,
  );
  replaceIn(
    page('README.md'),
    /\[[-\d]+ µs of CPU time\](\([^)]*\)\s+in memory and) [-\d]+ µs with Redis/,
    (_, between = '') =>
      `[${readOf(rows, 'ours-memory')} µs of CPU time]${between} ${readOf(rows, 'ours-redis')} µs with Redis`,
  );
  replaceIn(page('docs/not-offered.md'), /\[[-\d]+ to \d+ µs\]/, () => `[${range} µs]`);
  replaceIn(
    page('docs/capacity.md'),
    /at [-\d]+ to \d+ µs of CPU time for a session, 100,000 requests a second take [-\d.]+ to [\d.]+ cores/,
    () => `at ${range} µs of CPU time for a session, 100,000 requests a second take ${cores} cores`,
  );
}

function costTable(rows: readonly SubjectResult[]): string {
  const cells = ({ added }: SubjectResult): string[] => SHOWN.map(name => String(whole(added?.[name].median ?? NaN)));
  return table(
    ['', 'authenticated read', 'badly signed cookie', 'log-in', 'read-modify-write'],
    rows.map(row => [row.subject.title, ...cells(row)]),
  );
}

function costs(results: Results, rows: readonly SubjectResult[]): string {
  const { machine, versions, rounds, date } = results;
  const worst = Math.max(...differencesOf(results.subjects).flatMap(({ differences }) => differences.map(Math.abs)));
  return [
    costTable(rows),
    `Medians of ${rounds} rounds over HTTP on ${date.slice(0, 10)}: ${machine.cores} cores (${machine.cpu}), ${versionList(versions)}. ` +
      `The control: the same server, launched twice in each round, differed by up to ${Math.round(worst * 100)} %. ` +
      'Where an engine is waited for, requests meet and share what a turn of the event loop costs, so that a difference may be below zero.',
  ].join('\n\n');
}

function readOf(rows: readonly SubjectResult[], id: string): number {
  return whole(rows.find(({ subject }) => subject.id === id)?.added?.read.median ?? NaN);
}

/** Rounded, without a negative zero. */
function whole(value: number): number {
  return Math.round(value) + 0;
}
