import 'reflect-metadata';

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { runInThisContext } from 'node:vm';

import * as library from 'routing-controllers-sessions';
import type { SessionError } from 'routing-controllers-sessions';
import ts from 'typescript';

import { OPTIONS } from '../../src/koa/options.js';
import { REQUIREMENT } from '../../src/koa/session-cookie.js';
import { codeOf, documents, readDocument, root, tableUnder } from './markdown.js';
import { PLACEHOLDERS } from './transcript.js';

const readme = readDocument('README.md');

describe('the table of options in README.md', () => {
  const rows = tableUnder(readme, 'Configuration');
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

  test.each(rows.filter(row => /\(\d+ days\)/.test(row[1] ?? '')))(
    'says in days what the seconds of %s are',
    (...row) => {
      const [code = ''] = codeOf(row[1]);
      const days = /\((\d+) days\)/.exec(row[1] ?? '')?.[1];
      expect(Number(code.replaceAll('_', ''))).toBe(Number(days) * 86_400);
    },
  );

  test('has the default of InMemoryBackend', () => {
    const [, documented] = /takes `maxSessions`, by default `([\d_]+)`/.exec(readme.text) ?? [];
    const [, actual] = /maxSessions = ([\d_]+)/.exec(source('src/backends/memory/backend.ts')) ?? [];
    expect(actual).toMatch(/^1/);
    expect(documented).toBe(actual);
  });
});

describe('the tables of decorators in README.md', () => {
  test('have every decorator that the package exports', () => {
    const exported = [
      ...source('src/index.ts').matchAll(/export \{ (\w+).*'\.\/(?:controllers\/|model\/principal)/g),
    ].map(([, name]) => name);
    const documented = tableUnder(readme, 'Decorators').flatMap(row =>
      codeOf(row[0]).map(code => code.replace(/^@|\(.*$/g, '')),
    );
    expect(new Set(documented)).toEqual(new Set(exported));
  });

  test('have every option of @RequireSession', () => {
    const documented = tableUnder(readme, 'Decorators', 1).map(row => codeOf(row[0])[0]);
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

describe('the table of events in docs/sessions.md', () => {
  const rows = tableUnder(readDocument('docs/sessions.md'), 'Events');
  const documented = new Map<string, { reasons: string[]; properties: string[] }>();
  for (const [event, reason, properties] of rows) {
    const [name] = codeOf(event);
    if (name !== undefined) documented.set(name, { reasons: [], properties: codeOf(properties) });
    [...documented.values()].at(-1)?.reasons.push(...codeOf(reason));
  }

  test('has every event, its reasons and what else it carries', () => {
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

describe('the comparison in README.md', () => {
  const { dependencies } = JSON.parse(source('bench/package.json')) as { dependencies: Record<string, string> };
  const [, table = ''] = /<!-- comparison -->([^]*)<!-- end of comparison -->/.exec(readme.text) ?? [];

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

describe('what CONTRIBUTING.md names', () => {
  const contributing = readDocument('CONTRIBUTING.md');

  test('folders of tests that are there', () => {
    const folders = tableUnder(contributing, 'Tests').flatMap(row => codeOf(row[0]));
    expect(folders.filter(folder => !existsSync(path.join(root, folder)))).toEqual([]);
  });

  test('placeholders that transcripts know', () => {
    const [row = []] = tableUnder(contributing, 'Documents').filter(([directive]) => directive === '`against=app.ts`');
    const named = codeOf(row[1]).flatMap(code => /^<(\w+)>$/.exec(code)?.[1] ?? []);
    expect(named.sort()).toEqual(Object.keys(PLACEHOLDERS).sort());
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

test('the clients that docs/backends.md recommends are the ones that the outage campaign tests', () => {
  const withoutImports = (code: string): string => code.replace(/^import .*\n/gm, '').trim();
  // The campaign breaks the network on purpose, and need not read about it.
  const tested = source('test/campaigns/steady-clients.ts').replaceAll("'error', () => undefined", 'REPORT');
  const { text } = readDocument('docs/backends.md');
  const recommended = [...text.matchAll(/file=away-\w+\.ts -->\n```ts\n(.*?)```/gs)].map(([, code = '']) =>
    withoutImports(code).replaceAll("'error', error => console.error(error)", 'REPORT'),
  );
  expect(recommended).toHaveLength(2);
  for (const code of recommended) expect(tested).toContain(code);
});

describe('the table of costs in README.md', () => {
  const [, file = ''] = /\[All figures\]\(\S*(bench\/results\/[\d-]+\.md)\)/.exec(readme.text) ?? [];
  const report = readDocument(file);
  const added = rowsByTitle('CPU added by the session, microseconds a request', 1);
  const others = rowsByTitle('What else there is to know', 0);

  /** The rows of a table of the report, by the cell that names what was measured; without the cells up to it. */
  function rowsByTitle(heading: string, column: number): Map<string, string[]> {
    return new Map(tableUnder(report, heading).map(cells => [cells[column] ?? '', cells.slice(column + 1)]));
  }

  test.each(tableUnder(readme, 'What it costs'))(
    'has the figures of %s from the benchmark’s report',
    (title, ...figures) => {
      const [read, bad, , login, update] = added.get(title) ?? [];
      const medians = [read, bad, login, update].map(cell => Number.parseFloat(cell ?? ''));
      const [, lost] = others.get(title) ?? [];
      expect(figures.pop()).toBe(lost);
      // The report's figure was rounded before, to one decimal place.
      expect(figures).toHaveLength(medians.length);
      for (const [index, median] of medians.entries())
        expect(Math.abs(Number(figures[index]) - median)).toBeLessThanOrEqual(0.55);
    },
  );
});
