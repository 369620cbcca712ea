import { mkdtempSync, rmSync, mkdirSync } from 'node:fs';
import path from 'node:path';

import { documents, root } from './markdown.js';
import { hasCurl, runCommand, runJest, type RunningProgram, runToEnd, startServer } from './running.js';
import { compile, type CompiledSnippet, snippetsOf } from './snippets.js';
import { asShown, patternOf, stepsOf } from './transcript.js';

const all = documents();

describe('the code in the documents', () => {
  let work: string;
  let snippets: CompiledSnippet[] = [];
  const running: RunningProgram[] = [];

  beforeAll(() => {
    // Inside the repository, so that packages are found as from anywhere in it.
    mkdirSync(path.join(root, 'build'), { recursive: true });
    work = mkdtempSync(path.join(root, 'build', 'docs-'));
    snippets = compile(all.flatMap(snippetsOf), work);
  });

  afterEach(async () => {
    for (const program of running.splice(0)) await program.stop();
  });

  afterAll(() => {
    rmSync(work, { recursive: true, force: true });
  });

  const named = all.flatMap(document =>
    snippetsOf(document).map(({ name, run }) => ({ at: document.path, name, run })),
  );
  const find = (at: string, name: string): CompiledSnippet => {
    const snippet = snippets.find(candidate => candidate.document.path === at && candidate.name === name);
    if (!snippet) throw new Error(`${at} has no block ${name}`);
    return snippet;
  };

  test('is free of type errors under the strict options, all of it', () => {
    expect(named.some(({ at }) => at === 'README.md')).toBe(true);
    expect(snippets.flatMap(({ problems }) => problems)).toEqual([]);
  });

  for (const { at, name } of named.filter(({ run }) => run === 'node')) {
    test(`${at}: ${name} runs to its end, and has the documented effect`, () => {
      expect(runToEnd(find(at, name).javascript)).toMatch(/^proved$/m);
    });
  }

  for (const { at, name } of named.filter(({ run }) => run === 'jest')) {
    test(`${at}: the tests in ${name} pass`, () => {
      const { status, report } = runJest(find(at, name).javascript);
      expect(`${report}\nexit ${String(status)}`).toMatch(/\d+ passed[^]*exit 0$/);
    });
  }

  const servers = named.filter(({ run }) => run === 'server');
  test.each(servers)('$at: $name listens, and answers as the transcript shows', async ({ at, name }) => {
    const program = await startServer(find(at, name).javascript);
    running.push(program);
    const transcripts = all
      .find(document => document.path === at)!
      .blocks.filter(({ language, directives }) => language === 'console' && directives.get('against') === name);
    if (transcripts.length > 0 && !hasCurl()) {
      if (process.env['CI'] === 'true') throw new Error('curl is missing, and with CI=true nothing may be left out');
      console.warn(`SKIPPED: curl is missing, so that the transcript of ${at} was not replayed`);
      return;
    }
    for (const { command, output } of transcripts.flatMap(({ text }) => stepsOf(text))) {
      const shown = asShown(await runCommand(command, program.port, work));
      expect(`$ ${command}\n${shown}`).toMatch(
        new RegExp(`^${escape(`$ ${command}\n`)}${patternOf(output).source.slice(1)}`),
      );
    }
  });

  test('each transcript names a program that runs', () => {
    const unknown = all.flatMap(({ path: at, blocks }) =>
      blocks
        .filter(({ language, directives }) => language === 'console' && !directives.has('command'))
        .filter(
          ({ directives }) => !servers.some(server => server.at === at && server.name === directives.get('against')),
        )
        .map(({ line }) => `${at}:${line}`),
    );
    expect(unknown).toEqual([]);
  });

  test('each json block is json', () => {
    for (const { blocks } of all)
      for (const { language, text } of blocks)
        if (language === 'json') expect(() => JSON.parse(text) as unknown).not.toThrow();
  });
});

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
