import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { documents, readDocument, root } from './markdown.js';

const all = documents();

/** The address that the README links to, because the page of the package has no folder `docs`. */
const PUBLISHED = `${homepage()}/blob/main/`;

function homepage(): string {
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { homepage: string };
  return manifest.homepage.replace(/#.*/, '');
}

describe('links in the documents', () => {
  test.each(all)('$path: each leads to an existing file, and to an existing heading', ({ path: at, links }) => {
    const broken = links
      .filter(({ target }) => !leadsSomewhere(at, target))
      .map(({ target, line }) => `${at}:${line}: ${target}`);
    expect(broken).toEqual([]);
  });

  test("README.md uses absolute addresses, because the package's page shows it without the other files", () => {
    const relative = readDocument('README.md').links.filter(({ target }) => !/^(https:|#)/.test(target));
    expect(relative).toEqual([]);
  });

  test('each document can be reached from README.md', () => {
    const reached = new Set(['README.md']);
    for (const at of reached) {
      for (const { target } of readDocument(at).links) {
        const file = targetOf(at, target).file;
        if (file?.endsWith('.md') && existsSync(path.join(root, file))) reached.add(file);
      }
    }
    expect(all.map(document => document.path).filter(file => !reached.has(file))).toEqual([]);
  });
});

function leadsSomewhere(at: string, target: string): boolean {
  const { file, anchor } = targetOf(at, target);
  if (file === undefined) return true;
  const absolute = path.join(root, file);
  if (file.startsWith('..') || !existsSync(absolute)) return false;
  if (anchor === undefined) return true;
  return statSync(absolute).isFile() && file.endsWith('.md') && readDocument(file).anchors.has(anchor);
}

/** `file` is absent where the target is not in this repository: nothing is requested over the network. */
function targetOf(at: string, target: string): { file?: string; anchor?: string } {
  const isOurs = target.startsWith(PUBLISHED);
  if (!isOurs && /^[a-z]+:/.test(target)) return {};
  const [name = '', anchor] = target.slice(isOurs ? PUBLISHED.length : 0).split('#');
  const folder = isOurs ? '' : path.posix.dirname(at);
  const file = name === '' ? at : path.posix.join(folder, name);
  return { file, ...(anchor === undefined ? {} : { anchor }) };
}
