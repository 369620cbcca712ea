import type { CostResult } from './costs.js';
import type { CrowdResult } from './crowds.js';
import { spread, table, versionList } from './markdown.js';
import { COSTED, SCENARIOS, type Scenario } from './measure.js';
import type { Results, SubjectResult } from './results.js';

const HEADINGS: Record<Scenario, string> = {
  read: 'authenticated read',
  bad: 'badly signed cookie',
  none: 'no cookie',
  login: 'log-in',
  update: 'read-modify-write',
};

/** The tables, as Markdown. */
export function reportOf(results: Results): string {
  const { machine, versions, subjects, importTime, rounds, skipped } = results;
  const measured = subjects.filter(({ subject }) => subject.controlOf === undefined);
  return [
    `# Benchmark of ${results.date.slice(0, 10)}`,
    `${machine.cores} cores (${machine.cpu}), ${machine.platform}, ${versionList(versions)}. ${rounds} interleaved rounds, each server a fresh ` +
      `process${machine.pinned ? ', pinned to another core than the load' : ''}; load average ${machine.loadAverage.map(value => value.toFixed(1)).join(' ')}. ` +
      'Medians; in brackets the least and the most of the rounds. Made by `npm run bench`.',
    ...(results.quick ? ['A quick run: one short round, good for ratios at best.'] : []),
    ...(skipped.length > 0 ? [`Left out: ${skipped.join('; ')}.`] : []),
    ...(measured.length > 0 ? subjectTables(measured) : []),
    ...costsSection(results),
    ...boundsSection(results),
    ...crowdsTable(results.crowds),
    ...(importTime ? [`Loading the root entry, once its peers are loaded: ${spread(importTime, 1)} ms.`] : []),
    ...growthTable(measured),
    ...noiseTable(subjects),
    '',
  ].join('\n\n');
}

function subjectTables(measured: readonly SubjectResult[]): string[] {
  const names = SCENARIOS.map(scenario => HEADINGS[scenario]);
  return [
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
  ];
}

/** How much a server that was launched twice differs from itself, by scenario: the noise. */
export function differencesOf(subjects: readonly SubjectResult[]): { title: string; differences: number[] }[] {
  return subjects
    .filter(({ subject }) => subject.controlOf !== undefined)
    .map(control => {
      const original = subjects.find(({ subject }) => subject.id === control.subject.controlOf);
      const cpu = (result: SubjectResult | undefined, name: Scenario) => result?.scenarios[name].cpu.median ?? NaN;
      const differences = SCENARIOS.map(name => cpu(control, name) / cpu(original, name) - 1);
      return { title: control.subject.title, differences };
    });
}

function noiseTable(subjects: readonly SubjectResult[]): string[] {
  const rows = differencesOf(subjects).map(({ title, differences }) => [
    title,
    ...differences.map(difference => `${difference < 0 ? '' : '+'}${(difference * 100).toFixed(1)} %`),
  ]);
  if (rows.length === 0) return [];
  return [
    '## Noise: the same server, launched once more in each round',
    table(['session', ...SCENARIOS.map(name => HEADINGS[name])], rows),
  ];
}

function costsSection({ costs }: Results): string[] {
  if (costs.length === 0) return [];
  return [
    '## CPU added by the session, microseconds a request, within the process',
    'Requests are sent within the servers’ processes, 50 at a time, in short rounds in turn. Medians; in brackets the quartiles.',
    costTable(costs, spread),
  ];
}

export function costTable(costs: readonly CostResult[], shown: typeof spread = LEAST): string {
  return table(
    ['', ...COSTED.map(name => HEADINGS[name])],
    costs.map(({ subject, added }) => [subject.title, ...COSTED.map(name => shown(added[name], 0))]),
  );
}

function boundsSection(results: Results): string[] {
  if (results.bounds.length === 0) return [];
  return [
    '## An authenticated read beside a hand-written session on the same store',
    'CPU time that an authenticated read adds, beside a signature that is checked, one call of the driver, and nothing else. Requests are ' +
      'sent within the servers’ processes, in short rounds in turn. Medians; in brackets the quartiles.',
    ...boundsTable(results, spread),
  ];
}

const LEAST: typeof spread = (value, digits) => (value ? value.median.toFixed(digits) : '');

/** The comparison with hand-written sessions, and when it was made. */
export function boundsTable({ bounds, date, versions }: Results, shown: typeof spread = LEAST): string[] {
  const rows = bounds.flatMap(({ subject, byLoad }) =>
    Object.entries(byLoad).map(([atOnce, { ours, hand, call, ratio, control }]) => [
      subject.title.replace('this library, ', ''),
      atOnce,
      ...[ours, hand, call].map(figure => shown(figure, 1)),
      ...[ratio, control].map(figure => shown(figure, 2)),
    ]),
  );
  return [
    table(
      ['', 'at a time', 'this library, µs', 'hand-written, µs', 'the driver’s call alone, µs', 'ratio', 'control'],
      rows,
    ),
    ...(shown === LEAST ? [`Measured on ${date.slice(0, 10)} with Node ${versions['node']}.`] : []),
  ];
}

function crowdsTable(crowds: readonly CrowdResult[]): string[] {
  if (crowds.length === 0) return [];
  return [
    '## An authenticated read with more connections, and more processes',
    'All processes share one Redis server or one PostgreSQL server, and the connections in equal parts. CPU time is that of the ' +
      'servers’ processes. On two cores all of them run on one, and the load and the engine on the other: so the table shows ' +
      'what a request costs then, and not how far throughput grows.',
    table(
      [
        'session',
        'connections',
        'processes',
        'CPU a request, µs',
        'to the hand-written',
        'requests a second',
        'p50, ms',
        'p99, ms',
      ],
      crowds.map(({ subject, crowd, figures: { cpu, ratio, throughput, p50, p99 } }) => [
        subject.title,
        String(crowd.connections),
        String(crowd.processes),
        spread(cpu, 1),
        spread(ratio, 2),
        throughput.median.toFixed(0),
        p50.median.toFixed(1),
        p99.median.toFixed(1),
      ]),
    ),
  ];
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
