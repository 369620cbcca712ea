import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The root of the repository. */
export const root = path.resolve(__dirname, '../..');

/** A fenced block of a document. */
export interface Block {
  language: string;
  text: string;
  /** Of the block's first line in the document, counted from 1. */
  line: number;
  /** What the comment before the block says: `<!-- snippet: file=app.ts run=server -->`. A word alone is `true`. */
  directives: ReadonlyMap<string, string>;
}

/** What the tests look at in a Markdown file. */
export interface MarkdownDocument {
  /** Relative to the root, with `/`. */
  path: string;
  text: string;
  blocks: readonly Block[];
  /** As GitHub makes them of the headings. */
  anchors: ReadonlySet<string>;
  links: readonly { target: string; line: number }[];
}

/** All documents for readers: those at the root, and docs/ and examples/ as a whole. */
export function documents(): MarkdownDocument[] {
  const atRoot = readdirSync(root).filter(name => name.endsWith('.md'));
  const inFolders = ['docs', 'examples'].flatMap(folder =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.md'))
      .map(name => path.posix.join(folder, name.split(path.sep).join('/'))),
  );
  return [...atRoot, ...inFolders].sort().map(readDocument);
}

/** @param file relative to the root */
export function readDocument(file: string): MarkdownDocument {
  return parse(file, readFileSync(path.join(root, file), 'utf8'));
}

/** Reads the little of Markdown that these documents use: fences, headings with `#`, inline links. */
export function parse(file: string, text: string): MarkdownDocument {
  const blocks: Block[] = [];
  const links: { target: string; line: number }[] = [];
  const headings: string[] = [];
  const anchors = new Set<string>();
  let fence: { mark: string; language: string; line: number; lines: string[] } | undefined;
  let directives: ReadonlyMap<string, string> = new Map();

  text.split('\n').forEach((content, index) => {
    if (fence) {
      if (content.trim() !== fence.mark) {
        fence.lines.push(content);
        return;
      }
      blocks.push({ language: fence.language, text: fence.lines.join('\n'), line: fence.line, directives });
      fence = undefined;
      directives = new Map();
      return;
    }
    const opening = /^(`{3,})(\w*)/.exec(content);
    if (opening) {
      fence = { mark: opening[1] ?? '', language: opening[2] ?? '', line: index + 2, lines: [] };
      return;
    }
    const comment = /^<!-- snippet: (.*) -->$/.exec(content);
    if (comment) directives = readDirectives(comment[1] ?? '');
    else if (content.trim() !== '') directives = new Map();
    const heading = /^#{1,6} (.*)$/.exec(content)?.[1];
    if (heading !== undefined) headings.push(heading);
    for (const [, anchor] of content.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(anchor ?? '');
    for (const [, target] of content.replaceAll(/`[^`]*`/g, '``').matchAll(/\]\(([^)\s]+)\)/g))
      links.push({ target: target ?? '', line: index + 1 });
  });
  if (fence) throw new Error(`${file}:${fence.line}: a code block that is not closed`);

  for (const heading of headings) anchors.add(unused(slug(heading), anchors));
  return { path: file, text, blocks, anchors, links };
}

/** The rows of a table below a heading, the first unless told otherwise, its cells as they stand there. */
export function tableUnder(document: MarkdownDocument, heading: string, rank = 0): string[][] {
  const from = document.text.indexOf(`# ${heading}\n`);
  if (from === -1) throw new Error(`${document.path} has no heading '${heading}'`);
  const table = [...document.text.slice(from).matchAll(/(?:^\|.*\n)+/gm)][rank]?.[0] ?? '';
  return table
    .trimEnd()
    .split('\n')
    .slice(2)
    .map(row =>
      row
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map(cell => cell.trim().replaceAll('\\|', '|')),
    );
}

/** What stands in backticks in a cell. */
export function codeOf(cell: string | undefined): string[] {
  return [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? '');
}

function readDirectives(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split(/\s+/).map(word => {
      const [key = '', value = 'true'] = word.split('=');
      return [key, value];
    }),
  );
}

function slug(heading: string): string {
  const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('`', '');
  return plain
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

function unused(anchor: string, taken: ReadonlySet<string>): string {
  for (let count = 0; ; count++) {
    const candidate = count === 0 ? anchor : `${anchor}-${count}`;
    if (!taken.has(candidate)) return candidate;
  }
}
