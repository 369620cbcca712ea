import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import type { Middleware } from 'koa';

import { projectRoot } from './project-root.js';

const DOCUMENT = /^[\w-]+\.md$/;

/** Serves the project's Markdown documents as they are written: `/guide/README.md`, `/guide/docs/sessions.md`. */
export function guide(): Middleware {
  const documents = new Map<string, string>(
    ['', 'docs/', 'docs/reference/'].flatMap(folder =>
      readdirSync(path.join(projectRoot, folder))
        .filter(name => DOCUMENT.test(name))
        .map(name => [`/guide/${folder}${name}`, read(folder + name)] as const),
    ),
  );
  const template = readFileSync(path.join(projectRoot, 'playground/page/guide.html'), 'utf8');
  return async (ctx, next) => {
    const text = documents.get(ctx.path);
    if (text === undefined) {
      await next();
      return;
    }
    const title = /^# (.*)/m.exec(text)?.[1] ?? path.basename(ctx.path);
    ctx.type = 'html';
    ctx.set('Cache-Control', 'no-cache');
    ctx.body = template.replaceAll('{{title}}', () => escape(title)).replace('{{text}}', () => linked(escape(text)));
  };
}

/** Leaves out the comments, which are notes for the tests of the documents. */
function read(file: string): string {
  return readFileSync(path.join(projectRoot, file), 'utf8').replace(/^<!--.*-->\n/gm, '');
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`);
}

const LINK = /\]\((https:\/\/github\.com\/[\w-]+\/[\w-]+\/blob\/main\/)?((?:[\w-]+\/|\.\.\/)*[\w-]+\.md)(#[\w-]*)?\)/g;

/** Makes the Markdown's links to other documents work here, those to the repository included. */
function linked(html: string): string {
  return html.replace(LINK, (_, repository: string | undefined, file: string, part = '') => {
    const href = repository === undefined ? file : `/guide/${file}`;
    return `](<a href="${href}">${file}</a>${part})`;
  });
}
