import 'reflect-metadata';

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { runInThisContext } from 'node:vm';

import * as library from 'routing-controllers-sessions';
import type { SessionError } from 'routing-controllers-sessions';
import ts from 'typescript';

import { OPTIONS } from '../../src/koa/options.js';
import { REQUIREMENT } from '../../src/koa/session-cookie.js';
import { CHANNELS } from '../support/heard-messages.js';
import { codeOf, documents, readDocument, root, tableUnder } from './markdown.js';
import { PLACEHOLDERS } from './transcript.js';

const readme = readDocument('README.md');
const options = readDocument('docs/options.md');
const comparison = readDocument('docs/comparison.md');

describe('the table of options in docs/options.md', () => {
  const rows = tableUnder(options, 'Configuration');
  const option = (row: string[]) => codeOf(row[0])[0] ?? '';

  test('has every option, the required ones first, in the order of the source', () => {
    expect(rows.map(option)).toEqual(Object.keys(OPTIONS));
  });

  const defaults = Object.entries(OPTIONS).flatMap(([name, rule]) =>
    'default' in rule ? [[name, rule.default] as const] : [],
  );
  test.each(defaults)('has the default of %s', (name, value) => {
    const row = rows.find(candidate => option(candidate) === name);
    const [code = ''] = codeOf(row?.[1]);
    const documented: unknown = runInThisContext(`(${code})`);
    if (typeof value === 'function') expect(Math.abs((documented as () => number)() - value())).toBeLessThan(1000);
    else expect(documented).toEqual(value);
  });

  test.each(rows.filter(row => /\(\d+ days\)/.test(row[1] ?? '')))('gives the seconds of %s in days', (...row) => {
    const [code = ''] = codeOf(row[1]);
    const days = /\((\d+) days\)/.exec(row[1] ?? '')?.[1];
    expect(Number(code.replaceAll('_', ''))).toBe(Number(days) * 86_400);
  });

  test('has the default of InMemoryBackend', () => {
    const [, documented] = /by default\s+`([\d_]+)`/.exec(readDocument('docs/backends/README.md').text) ?? [];
    const [, actual] = /maxSessions = ([\d_]+)/.exec(source('src/backends/memory/backend.ts')) ?? [];
    expect(actual).toMatch(/^1/);
    expect(documented).toBe(actual);
  });
});

describe('the tables of decorators in docs/options.md', () => {
  test('have every decorator that the package exports', () => {
    const exported = [...source('src/index.ts').matchAll(/export \{ (\w+).*'\.\/(?:controllers\/|model\/principal)/g)]
      .map(([, name]) => name)
      // Routes, and no decorator.
      .filter(name => name !== 'type' && name !== 'SessionsController');
    const documented = tableUnder(options, 'Decorators').flatMap(row =>
      codeOf(row[0]).map(code => code.replace(/^@|\(.*$/g, '')),
    );
    expect(new Set(documented)).toEqual(new Set(exported));
  });

  test('have every option of @RequireSession', () => {
    const documented = tableUnder(options, 'Options of @RequireSession').map(row => codeOf(row[0])[0]);
    expect(documented.sort()).toEqual(Object.keys(REQUIREMENT).sort());
  });
});

describe('the table of errors in docs/errors.md', () => {
  const rows = tableUnder(readDocument('docs/errors.md'), 'Errors');
  const exported = Object.entries(library).filter(([name]) => /^(?!Session(Http)?Error$)\w+Error$/.test(name));

  test('has every error that the package exports', () => {
    expect(rows.flatMap(([name]) => codeOf(name)).sort()).toEqual(exported.map(([name]) => name).sort());
  });

  test.each(exported)('has the code and the status of %s', (name, constructor) => {
    const error = new (constructor as unknown as new (arg: unknown) => SessionError)(argumentOf(name));
    const [, code, status] = rows.find(row => codeOf(row[0])[0] === name) ?? [];
    expect({ code: codeOf(code), status }).toEqual({
      code: [error.code],
      status: error instanceof library.SessionHttpError ? String(error.status) : '',
    });
  });

  function argumentOf(name: string): unknown {
    return name === 'InvalidSessionDataError' ? {} : undefined;
  }
});

describe('the table of events in docs/events.md', () => {
  const rows = tableUnder(readDocument('docs/events.md'), 'Events');
  const documented = new Map<string, { reasons: string[]; properties: string[] }>();
  for (const [event, reason, properties] of rows) {
    const [name] = codeOf(event);
    if (name !== undefined) documented.set(name, { reasons: [], properties: codeOf(properties) });
    [...documented.values()].at(-1)?.reasons.push(...codeOf(reason));
  }

  test('lists every event, its reasons and its other properties', () => {
    expect(documented).toEqual(eventsOfSource());
  });

  function eventsOfSource(): typeof documented {
    const file = ts.createSourceFile('events.ts', source('src/session/events.ts'), ts.ScriptTarget.ES2022, true);
    const declared = file.statements.find(
      (node): node is ts.InterfaceDeclaration => ts.isInterfaceDeclaration(node) && node.name.text === 'SessionEvents',
    );
    const events: typeof documented = new Map();
    for (const member of declared?.members ?? []) {
      const text = member.getText();
      const own = [...text.replace(/^\w+: /, '').matchAll(/(\w+):/g)].map(([, property]) => property ?? '');
      const [, reasons = ''] = /reason: ([^;}]*)/.exec(text) ?? [];
      events.set(member.name?.getText() ?? '', {
        reasons: [...reasons.matchAll(/'([^']+)'/g)].map(([, reason]) => reason ?? ''),
        properties: own.filter(property => property !== 'id' && property !== 'reason'),
      });
    }
    return events;
  }
});

describe('the tables in docs/telemetry.md', () => {
  const telemetry = readDocument('docs/telemetry.md');
  const namesUnder = (heading: string) => tableUnder(telemetry, heading).flatMap(row => codeOf(row[0]));

  test('have every channel', () => {
    expect(namesUnder('Channels').sort()).toEqual([...CHANNELS].sort());
  });

  test('have every metric, every outcome and every source', () => {
    const metrics = source('src/telemetry/metrics.ts');
    expect(namesUnder('Metrics').sort()).toEqual(
      [...metrics.matchAll(/(?:createHistogram|= count)\('([\w.]+)'/g)].map(([, name]) => name ?? '').sort(),
    );
    const documented = tableUnder(telemetry, 'Metrics').flatMap(row => codeOf(row[2]));
    const declared = source('src/session/diagnostics.ts');
    for (const type of ['BackendOutcome', 'LoadOutcome']) {
      const [, union = ''] = new RegExp(`export type ${type} = ([^;]*);`).exec(declared) ?? [];
      const values = [...union.matchAll(/'(\w+)'/g)].map(([, value]) => value ?? '');
      expect(values.length).toBeGreaterThan(4);
      expect(documented).toEqual(expect.arrayContaining(values));
    }
    expect(documented).toEqual(expect.arrayContaining(['memory', 'store']));
  });
});

describe('the comparison in docs/comparison.md', () => {
  const { dependencies } = JSON.parse(source('bench/package.json')) as { dependencies: Record<string, string> };
  const [, table = ''] = /<!-- comparison -->([^]*)<!-- end of comparison -->/.exec(comparison.text) ?? [];

  test('names the versions that `npm run compare` installs', () => {
    const [, header = ''] = /^\|  \|(.*)\|$/m.exec(table) ?? [];
    const peers = header.split('|').map(cell => cell.trim().split(' '));
    expect(peers.slice(1)).toHaveLength(4);
    for (const [name = '', version] of peers.slice(1))
      expect({ name, version: dependencies[name] }).toEqual({ name, version });
  });

  test('has a row for each scenario', () => {
    const titles = [
      ...source('bench/compare/scenarios.mjs').matchAll(/^ {2}(?:'(.+)'|\[`(?:\$\{\w+\})(.+)`\]): async/gm),
    ];
    const rows = [...table.matchAll(/^\| ([^|]+) \|/gm)]
      .map(([, title]) => title ?? '')
      .filter(title => title !== '---');
    expect(rows.map(row => row.replace(/^\d+/, ''))).toEqual(titles.map(([, plain, counted]) => plain ?? counted));
  });
});

function source(file: string): string {
  return readFileSync(path.join(root, file), 'utf8');
}

test('docs/guarantees.md defines each id that the name of a test begins with', () => {
  const names = readdirSync(path.join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.test.ts'))
    .flatMap(file => [...source(path.join('test', file)).matchAll(/['"`]([A-Z]{2}-\d+): /g)].map(([, id]) => id ?? ''));
  const defined = [...source('docs/guarantees.md').matchAll(/^\| ([A-Z]{2}-\d+) \|/gm)].map(([, id]) => id ?? '');
  expect(new Set(names).size).toBeGreaterThan(20);
  expect([...new Set(names)].filter(id => !defined.includes(id))).toEqual([]);
  expect(defined).toEqual([...new Set(defined)]);
});

describe('the files and scripts in CONTRIBUTING.md', () => {
  const contributing = readDocument('CONTRIBUTING.md');

  test('folders of tests that are there', () => {
    const folders = tableUnder(contributing, 'Tests').flatMap(row => codeOf(row[0]));
    expect(folders.filter(folder => !existsSync(path.join(root, folder)))).toEqual([]);
  });

  test('the placeholders of transcripts', () => {
    const [row = []] = tableUnder(contributing, 'Documents').filter(([directive]) => directive === '`against=app.ts`');
    const named = codeOf(row[1]).flatMap(code => /^<(\w+)>$/.exec(code)?.[1] ?? []);
    expect(named.sort()).toEqual(Object.keys(PLACEHOLDERS).sort());
  });
});

describe('the form of the documents', () => {
  const pages = documents().filter(({ path: at }) => !at.startsWith('docs/reference/'));

  test.each(pages)('$path has at most 1,800 words', ({ text }) => {
    expect(text.split(/\s+/).length).toBeLessThanOrEqual(1_800);
  });

  test.each(['README.md', 'docs/getting-started.md', 'docs/testing.md'])('%s hides no code from its reader', at => {
    const { blocks } = readDocument(at);
    expect(blocks.filter(({ language }) => language === 'ts').length).toBeGreaterThan(1);
    expect(blocks.filter(({ directives }) => directives.has('prelude') || directives.has('proof'))).toEqual([]);
  });

  test('docs/README.md lists every page', () => {
    const listed = new Set(readDocument('docs/README.md').links.map(({ target }) => path.posix.join('docs', target)));
    const missing = pages.map(({ path: at }) => at).filter(at => at.startsWith('docs/') && !listed.has(at));
    expect(missing).toEqual(['docs/README.md']);
  });
});

describe('commands in the documents', () => {
  const scripts = Object.keys((JSON.parse(source('package.json')) as { scripts: object }).scripts);

  test.each(documents())('$path: each `npm run` names a script that is there', ({ text }) => {
    for (const [, name = ''] of text.matchAll(/npm run (\w[\w:-]*)/g)) expect(scripts).toContain(name);
  });
});

test('the npm scripts run in any shell, that of Windows included', () => {
  const { scripts } = JSON.parse(source('package.json')) as { scripts: Record<string, string> };
  const posix = Object.entries(scripts).filter(([, script]) => /\bexec\b|^\w+=|[;|<>$'`]/.test(script));
  expect(posix).toEqual([]);
});

test('the clients that the documents recommend are those that the outage campaign tests', () => {
  const withoutImports = (code: string): string => code.replace(/^import .*\n/gm, '').trim();
  // The campaign breaks the network on purpose, and need not read about it.
  const tested = source('test/campaigns/steady-clients.ts').replaceAll("'error', () => undefined", 'REPORT');
  const text = ['redis', 'ioredis', 'postgres', 'mysql']
    .map(name => readDocument(`docs/backends/${name}.md`).text)
    .join('\n');
  const recommended = [...text.matchAll(/file=away-\w+\.ts -->\n```ts\n(.*?)```/gs)].map(([, code = '']) =>
    withoutImports(code).replaceAll("'error', error => console.error(error)", 'REPORT'),
  );
  expect(recommended).toHaveLength(4);
  for (const code of recommended) expect(tested).toContain(code);
});

describe('the table of costs in docs/comparison.md', () => {
  const [, file = ''] = /\[All figures\]\(\.\.\/(bench\/results\/[\d-]+\.md)\)/.exec(comparison.text) ?? [];
  const report = tableUnder(readDocument(file), 'CPU added by the session, microseconds a request, within the process');
  const rows = tableUnder(comparison, 'What a session costs');

  test.each(rows)('has the figures of %s from the report', (title, ...figures) => {
    const medians = report.find(cells => cells[0] === title)?.slice(1) ?? [];
    expect(figures).toEqual(medians.map(cell => /^-?\d+/.exec(cell)?.[0]));
  });

  test('has the rows of README.md', () => {
    const [, section = ''] = /<!-- cost -->([^]*)<!-- end of cost -->/.exec(readme.text) ?? [];
    const brief = section.split('\n').filter(line => line.startsWith('| ') && !line.startsWith('| ---'));
    expect(brief.length).toBeGreaterThan(5);
    for (const line of brief) expect(comparison.text).toContain(line);
  });
});

describe('the three measured facts in README.md', () => {
  test('have the kept increments of the comparison', () => {
    const [, ours, least, most] =
      /Of 200 parallel[^]*?, (\d+) are kept[^]*?between (\d+) and (\d+)/.exec(readme.text) ?? [];
    const [kept, ...others] = (/^\| 200 parallel increments.*$/m.exec(comparison.text)?.[0] ?? '')
      .split('|')
      .slice(2, -1)
      .map(Number);
    expect([ours, least, most].map(Number)).toEqual([kept, Math.min(...others), Math.max(...others)]);
  });

  test('have the number of races, and of the sessions that survived them', () => {
    const [, races = '', survivors] = /\[([\d,]+) races\][^]*?, (\d+) ended sessions came back/.exec(readme.text) ?? [];
    const rows = tableUnder(readDocument('docs/backends/measurements.md'), 'Races');
    const sum = (column: number) => rows.reduce((all, row) => all + Number(row[column]?.replaceAll(',', '')), 0);
    expect([Number(races.replaceAll(',', '')), Number(survivors)]).toEqual([sum(1), sum(3)]);
  });

  test('have the cost of a read in memory and with Redis', () => {
    const [, memory, redis] = /\[(\d+) µs of CPU time\][^]*? and (\d+) µs with Redis/.exec(readme.text) ?? [];
    const read = (title: string) => tableUnder(comparison, 'What a session costs').find(row => row[0] === title)?.[1];
    expect([memory, redis]).toEqual([read('this library, InMemory'), read('this library, Redis')]);
  });
});
