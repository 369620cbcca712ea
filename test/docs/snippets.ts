import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { transformSync } from 'esbuild';
import ts from 'typescript';

import { type Block, type MarkdownDocument, root } from './markdown.js';

/** The place in a prelude where the block goes. Without it, the block goes to the end. */
const PLACE = '/* snippet */';

/** One TypeScript file made of a document's blocks. */
export interface Snippet {
  document: MarkdownDocument;
  /** `node`, `server` or `jest`; absent: compiled only. */
  run: string | undefined;
  /** The name in the document, or the line where the block starts. */
  name: string;
  /** `esbuild`: compiled by it in place of TypeScript, without the types beside decorators. */
  by: string | undefined;
  /** The document or example whose files it stands beside, and can import: its own, unless `beside` names another one. */
  beside: string;
  /** The document's line that each line comes from; `undefined` for lines of a prelude. */
  origins: (number | undefined)[];
  lines: string[];
}

/** A snippet after compilation. */
export interface CompiledSnippet extends Snippet {
  /** Absolute path of the JavaScript. */
  javascript: string;
  /** Each as `document:line: message`. */
  problems: string[];
}

/**
 * Returns the TypeScript of a document. A block that `continues` is one file with the block before. A `prelude` precedes it,
 * invisible to readers. A `proof` follows it: code that runs the block and checks its effects.
 */
export function snippetsOf(document: MarkdownDocument): Snippet[] {
  const snippets: Snippet[] = [];
  let proof: string | undefined;
  const finish = (): void => {
    const last = snippets.at(-1);
    if (last && proof !== undefined)
      append(last, readFileSync(path.join(root, 'docs/proofs', `${proof}.ts`), 'utf8').split('\n'));
    proof = undefined;
  };
  for (const block of document.blocks.filter(({ language }) => language === 'ts')) {
    const previous = snippets.at(-1);
    if (block.directives.has('continues') && previous) append(previous, block.text.split('\n'), block.line);
    else {
      finish();
      const { directives, line } = block;
      proof = directives.get('proof');
      const snippet: Snippet = {
        document,
        run: directives.get('run'),
        name: directives.get('file') ?? `line-${line}.ts`,
        by: directives.get('by'),
        beside: directives.get('beside') ?? document.path,
        origins: [],
        lines: [],
      };
      const [before, after] = preludeFor(block);
      // Imports are run where they stand once they are compiled to CommonJS: the block's own come before the prelude.
      const imports = before === '' ? 0 : linesOfImports(block.text);
      const lines = block.text.split('\n');
      append(snippet, lines.slice(0, imports), line);
      append(snippet, before.split('\n'));
      append(snippet, lines.slice(imports), line + imports);
      append(snippet, after.split('\n'));
      snippets.push(snippet);
    }
  }
  finish();
  return snippets;
}

/**
 * Type-checks all snippets under the project's own strict options, in one program. Writes their JavaScript below `work`,
 * beside that of the library, which they import by its published names.
 */
export function compile(snippets: readonly Snippet[], work: string): CompiledSnippet[] {
  const sources = path.join(work, 'ts');
  const emitted = path.join(work, 'js');
  const files = snippets.map(snippet => {
    const file = path.join(sources, snippet.beside.replace(/\.md$/, ''), snippet.name);
    mkdirSync(path.dirname(file), { recursive: true });
    if (existsSync(file)) throw new Error(`${snippet.beside} has two blocks named ${snippet.name}`);
    if (snippet.beside.startsWith('examples/'))
      cpSync(path.join(root, snippet.beside), path.dirname(file), {
        recursive: true,
        filter: each => !each.endsWith('.test.ts'),
      });
    writeFileSync(file, snippet.lines.join('\n'));
    return file;
  });

  const { config } = ts.readConfigFile(path.join(root, 'tsconfig.json'), name => readFileSync(name, 'utf8')) as {
    config: { compilerOptions: object };
  };
  const { options } = ts.parseJsonConfigFileContent({ ...config, files, include: [] }, ts.sys, root);
  const program = ts.createProgram(files, { ...options, noEmit: false, rootDir: root, outDir: emitted });
  mkdirSync(emitted, { recursive: true });
  writeFileSync(path.join(emitted, 'package.json'), JSON.stringify(manifest()));
  const { diagnostics } = program.emit();
  const problems = [...ts.getPreEmitDiagnostics(program), ...diagnostics];
  const javascripts = files.map(file => path.join(emitted, path.relative(root, file)).replace(/\.ts$/, '.js'));
  for (const [index, { by, lines }] of snippets.entries())
    if (by === 'esbuild') writeFileSync(javascripts[index] ?? '', withoutMetadata(lines.join('\n')));

  return snippets.map((snippet, index) => {
    const file = files[index] ?? '';
    const own = problems.filter(problem => problem.file && path.resolve(problem.file.fileName) === file);
    return {
      ...snippet,
      javascript: javascripts[index] ?? '',
      problems: own.flatMap(problem => describe(snippet, problem) ?? []),
    };
  });
}

function withoutMetadata(source: string): string {
  const tsconfigRaw = { compilerOptions: { experimentalDecorators: true } };
  return transformSync(source, { loader: 'ts', format: 'cjs', target: 'es2022', tsconfigRaw }).code;
}

/** The published package.json, with the JavaScript that was just made instead of dist. */
function manifest(): object {
  const { name, type, exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    name: string;
    type: string;
    exports: Record<string, string | { default: string }>;
  };
  const entries = Object.entries(exports).flatMap(([subpath, entry]) =>
    typeof entry === 'string' ? [] : [[subpath, entry.default.replace('./dist/', './src/')] as const],
  );
  return { name, type, exports: Object.fromEntries(entries) };
}

function describe(snippet: Snippet, { file, start = 0, messageText, code }: ts.Diagnostic): string | undefined {
  const line = file ? file.getLineAndCharacterOfPosition(start).line : 0;
  const origin = snippet.origins[line];
  const isUnused = [6133, 6138, 6192, 6196, 6198].includes(code);
  // A block may declare things that it does not use. An unused import is a mistake all the same.
  if (isUnused && (origin === undefined || !isImport(file, start))) return undefined;
  const place = origin === undefined ? `the prelude of ${snippet.name}, line ${line + 1}` : String(origin);
  return `${snippet.document.path}:${place}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
}

function isImport(file: ts.SourceFile | undefined, at: number): boolean {
  return Boolean(
    file?.statements.some(({ kind, pos, end }) => kind === ts.SyntaxKind.ImportDeclaration && pos <= at && at < end),
  );
}

/** @param line the line in the document; absent for lines that are not in it */
function append(snippet: Snippet, lines: readonly string[], line?: number): void {
  snippet.lines.push(...lines);
  snippet.origins.push(...lines.map((_, index) => (line === undefined ? undefined : line + index)));
}

/** Returns the number of lines at the head of a block that are imports. */
function linesOfImports(text: string): number {
  const file = ts.createSourceFile('block.ts', text, ts.ScriptTarget.ES2022);
  const last = file.statements.findLast(ts.isImportDeclaration);
  return last ? file.getLineAndCharacterOfPosition(last.end).line + 1 : 0;
}

/** Returns the code before and after a block. Imports that the block has itself are left out. */
function preludeFor({ directives, text }: Block): [string, string] {
  const names = directives.get('prelude')?.split(',') ?? [];
  const prelude = names.map(name => readFileSync(path.join(root, 'docs/preludes', `${name}.ts`), 'utf8')).join('\n');
  const imported = new Set(importedNames(text));
  const [before = '', after = ''] = withoutImports(prelude, imported).split(PLACE);
  return [before, after];
}

function importedNames(text: string): string[] {
  const file = ts.createSourceFile('block.ts', text, ts.ScriptTarget.ES2022);
  return file.statements.filter(ts.isImportDeclaration).flatMap(({ importClause }) => {
    const { namedBindings, name } = importClause ?? {};
    const named = namedBindings && ts.isNamedImports(namedBindings) ? namedBindings.elements : [];
    return [...named.map(element => element.name.text), ...(name ? [name.text] : [])];
  });
}

function withoutImports(text: string, names: ReadonlySet<string>): string {
  const file = ts.createSourceFile('prelude.ts', text, ts.ScriptTarget.ES2022, true);
  let result = text;
  for (const { importClause } of file.statements.filter(ts.isImportDeclaration).toReversed()) {
    const bindings = importClause?.namedBindings;
    if (!bindings || !ts.isNamedImports(bindings)) continue;
    const kept = bindings.elements.filter(element => !names.has(element.name.text));
    const list = kept.map(element => element.getText()).join(', ');
    result = `${result.slice(0, bindings.getStart())}{ ${list} }${result.slice(bindings.getEnd())}`;
  }
  return result;
}
