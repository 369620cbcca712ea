import { existsSync, statSync } from 'node:fs';
import path from 'node:path';

import { documents, readDocument, root } from './markdown.js';

const all = documents();

describe('links in the documents', () => {
  test.each(all)('$path: each leads to a file that is there, and to a heading that it has', ({ path: at, links }) => {
    const broken = links
      .filter(({ target }) => !leadsSomewhere(at, target))
      .map(({ target, line }) => `${at}:${line}: ${target}`);
    expect(broken).toEqual([]);
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

/** `file` is absent for what lies elsewhere: that is not asked for here. */
function targetOf(at: string, target: string): { file?: string; anchor?: string } {
  if (/^[a-z]+:/.test(target)) return {};
  const [name = '', anchor] = target.split('#');
  const file = name === '' ? at : path.posix.join(path.posix.dirname(at), name);
  return { file, ...(anchor === undefined ? {} : { anchor }) };
}
