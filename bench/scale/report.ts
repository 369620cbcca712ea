import { spread, table, versionList } from '../markdown.js';
import { spreadOf } from '../statistics.js';
import { type Operation, OPERATIONS } from './operations.js';
import type { ScaleFigures, ScaleResults, SweepEffect, SweepFigures } from './results.js';
import type { StoreName } from './stores.js';

const BACKENDS: Record<StoreName, string> = {
  memory: '`InMemoryBackend`',
  lmdb: '`LmdbBackend`',
  redis: '`RedisBackend`',
  sqlite: '`SqliteBackend`',
  postgres: '`PostgresBackend`',
  mysql: '`MysqlBackend`',
};

const WHERE: Record<StoreName, string> = {
  memory: "of the process's memory",
  lmdb: 'of the file',
  redis: "of the server's memory",
  sqlite: 'of the file',
  postgres: 'of table and indexes',
  mysql: 'of table and indexes',
};

const TITLES: Record<Operation, string> = {
  read: 'read',
  create: 'create',
  delete: 'end one',
  'list 10': 'list 10 of a user',
  'revoke 10': 'end 10 of a user',
  'list 1,000': 'list 1,000 of a user',
};

/** Reduces the results to figures: the answers of a sweep to their percentiles. */
export function figuresOfAll({ stores, ...campaign }: ScaleResults): ScaleFigures {
  return { ...campaign, stores: stores.map(({ sweeps, ...measured }) => ({ ...measured, sweep: figuresOf(sweeps) })) };
}

function figuresOf(sweeps: readonly SweepEffect[]): SweepFigures {
  const without = sweeps.flatMap(({ before, after }) => [...before, ...after]);
  const during = sweeps.flatMap(sweep => sweep.during);
  const both = (part: number) => ({ without: percentile(without, part), with: percentile(during, part) });
  return {
    deleted: sum(sweeps.map(({ deleted }) => deleted)),
    seconds: sum(sweeps.map(({ seconds }) => seconds)),
    requests: { without: without.length, with: during.length },
    p50: both(0.5),
    p99: both(0.99),
    ratio: spreadOf(
      sweeps.map(sweep => percentile(sweep.during, 0.99) / percentile([...sweep.before, ...sweep.after], 0.99)),
    ),
    noise: spreadOf(sweeps.map(({ before, after }) => percentile(after, 0.99) / percentile(before, 0.99))),
  };
}

/** The tables, as Markdown. */
export function reportOf({ date, sessions, machine, versions, rounds, minutes, stores }: ScaleFigures): string {
  const sizes = Object.keys(stores[0]?.times ?? {}).map(Number);
  const rows = stores.flatMap(({ store, times }) =>
    OPERATIONS.map(operation => {
      const medians = sizes.map(size => times[size]?.[operation] ?? NaN);
      const growth = Math.max(...medians) / Math.min(...medians);
      return [
        BACKENDS[store],
        TITLES[operation],
        ...medians.map(median => median.toFixed(median < 10 ? 1 : 0)),
        growth.toFixed(2),
      ];
    }),
  );
  return [
    `Measured on ${date.slice(0, 10)} by \`npm run campaign:scale\`, in ${minutes.toFixed(0)} minutes: ${machine.cores} cores (${machine.cpu}), ` +
      `${machine.platform}, ${versionList(versions)}; load average at the start ${machine.loadAverage.map(value => value.toFixed(1)).join(' ')}. ` +
      `${count(sessions)} sessions with about 300 bytes of data each; a tenth had expired.`,
    table(
      ['', 'bytes a session', 'sessions filled in a second'],
      stores.map(({ store, bytesPerSession, fillSeconds }) => [
        BACKENDS[store],
        `${count(bytesPerSession)} ${WHERE[store]}`,
        count(sessions / fillSeconds),
      ]),
    ),
    'Each operation alone, one after the other, in a store of so many sessions: medians in microseconds, and the largest over the smallest.',
    table(['', 'operation', ...sizes.map(count), 'ratio'], rows),
    `Clean-up beside a steady load of 400 authenticated requests a second, of which a fifth change their session: ${rounds} sweeps, each between ` +
      'two stretches without one. The 99th percentile of the time of an answer, in milliseconds, over all requests; the ratio is that of the ' +
      'rounds: median, least and most. The noise is the same ratio between the two stretches without a sweep. Redis forgets by itself, and is not swept.',
    table(
      ['', 'sessions removed', 'a second', 'p99 without', 'p99 with', 'ratio', 'noise'],
      stores
        .filter(({ sweep }) => sweep.deleted > 0)
        .map(({ store, sweep: { deleted, seconds, p99, ratio, noise } }) => [
          BACKENDS[store],
          count(deleted),
          count(deleted / seconds),
          p99.without.toFixed(2),
          p99.with.toFixed(2),
          spread(ratio, 2),
          spread(noise, 2),
        ]),
    ),
    ...stores.flatMap(({ store, violations }) => violations.map(violation => `**${BACKENDS[store]}: ${violation}**`)),
    '',
  ].join('\n\n');
}

function percentile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? NaN;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-GB');
}
