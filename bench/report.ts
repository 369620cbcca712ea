import { spread, table, versionList } from './markdown.js';
import { SCENARIOS, type Scenario } from './measure.js';
import type { Results, SubjectResult } from './results.js';

const HEADINGS: Record<Scenario, string> = {
  read: 'authenticated read',
  bad: 'badly signed',
  none: 'no cookie',
  login: 'log-in',
  update: 'read-modify-write',
};

/** The tables, as Markdown. */
export function reportOf(results: Results): string {
  const { machine, versions, subjects, importTime, rounds, skipped } = results;
  const controls = subjects.filter(({ subject }) => subject.controlOf !== undefined);
  const measured = subjects.filter(({ subject }) => subject.controlOf === undefined);
  const names = SCENARIOS.map(scenario => HEADINGS[scenario]);
  return [
    `# Benchmark of ${results.date.slice(0, 10)}`,
    `${machine.cores} cores (${machine.cpu}), ${machine.platform}, ${versionList(versions)}. ${rounds} interleaved rounds, each server a fresh ` +
      `process${machine.pinned ? ', pinned to another core than the load' : ''}; load average ${machine.loadAverage.map(value => value.toFixed(1)).join(' ')}. ` +
      'Medians; in brackets the least and the most of the rounds. Made by `npm run bench`.',
    ...(results.quick ? ['A quick run: one short round, good for ratios at best.'] : []),
    ...(skipped.length > 0 ? [`Left out: ${skipped.join('; ')}.`] : []),
    '## CPU added by the session, microseconds a request',
    'Against the same route on the same stack without a session, round by round.',
    table(
      ['stack', 'session', ...names],
      measured
        .filter(({ added }) => added)
        .map(({ subject, added }) => [
          subject.stack,
          subject.title,
          ...SCENARIOS.map(name => spread(added?.[name], 1)),
        ]),
    ),
    '## CPU of the whole request, microseconds',
    table(
      ['stack', 'session', ...names],
      measured.map(({ subject, scenarios }) => [
        subject.stack,
        subject.title,
        ...SCENARIOS.map(name => spread(scenarios[name].cpu, 1)),
      ]),
    ),
    '## Requests a second, and the 99th percentile of their time in milliseconds',
    table(
      ['stack', 'session', ...names],
      measured.map(({ subject, scenarios }) => [
        subject.stack,
        subject.title,
        ...SCENARIOS.map(
          name => `${scenarios[name].throughput.median.toFixed(0)}, ${scenarios[name].p99.median.toFixed(1)} ms`,
        ),
      ]),
    ),
    '## What else there is to know',
    table(
      ['session', 'bytes a session', 'lost of 200 increments', 'sent for a read', 'for a log-in', 'for an update'],
      measured
        .filter(({ subject }) => subject.store !== 'none')
        .map(result => [
          result.subject.title,
          result.bytesPerSession?.toFixed(0) ?? '',
          String(result.lostUpdates ?? ''),
          ...(['read', 'login', 'update'] as const).map(name => sentFor(result, name)),
        ]),
    ),
    'What Redis was sent includes the commands that a script ran (`evalsha`: one message).',
    `Loading the root entry, once its peers are loaded: ${spread(importTime, 1)} ms.`,
    ...growthTable(measured),
    '## Noise: the same server, launched once more in each round',
    table(
      ['session', ...names],
      controls.map(control => {
        const original = subjects.find(({ subject }) => subject.id === control.subject.controlOf);
        return [
          control.subject.title,
          ...SCENARIOS.map(name => {
            const difference = control.scenarios[name].cpu.median / (original?.scenarios[name].cpu.median ?? NaN) - 1;
            return `${difference < 0 ? '' : '+'}${(difference * 100).toFixed(1)} %`;
          }),
        ];
      }),
    ),
    '',
  ].join('\n\n');
}

function growthTable(measured: readonly SubjectResult[]): string[] {
  const grown = measured.filter(({ growth }) => growth);
  const sizes = Object.keys(grown[0]?.growth ?? {});
  if (sizes.length === 0) return [];
  return [
    '## CPU of an authenticated read in a growing store, microseconds',
    table(
      ['session', ...sizes.map(size => `${Number(size).toLocaleString('en-GB')} sessions`)],
      grown.map(({ subject, growth }) => [subject.title, ...sizes.map(size => growth?.[size]?.toFixed(1) ?? '')]),
    ),
  ];
}

function sentFor({ scenarios }: SubjectResult, scenario: 'read' | 'login' | 'update'): string {
  const { commands, statements } = scenarios[scenario];
  if (statements !== undefined) return `${round(statements)} statements`;
  return Object.entries(commands ?? {})
    .map(([name, calls]) => `${round(calls)} ${name}`)
    .join(', ');
}

function round(value: number): string {
  return String(Math.round(value * 100) / 100);
}
