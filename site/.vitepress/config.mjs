import { readFileSync } from 'node:fs';
import path from 'node:path';

import { defineConfig } from 'vitepress';

import { stem } from './stem.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const docs = path.join(root, 'docs');
const repository = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).homepage.replace(/#.*/, '');

/** The site has the pages of docs/ alone: a link to any other file of the repository leads to that file on GitHub. */
function siteLink(href, page) {
  if (/^[a-z]+:|^#/.test(href)) return href;
  const [name, anchor] = href.split('#');
  const file = path.posix.join('docs', path.posix.dirname(page), name);
  if (!file.startsWith('docs/')) return `${repository}/blob/main/${file}${anchor ? `#${anchor}` : ''}`;
  return href.replace(/(^|\/)README\.md/, '$1index.md');
}

/** As GitHub makes them, because the documents' links name those. */
function slugify(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

function adaptMarkdown(md) {
  md.core.ruler.push('site', ({ tokens, env }) => {
    for (const token of tokens) {
      // The comments before blocks of code are for the tests.
      if (token.type === 'html_block') token.content = token.content.replace(/<!--.*?-->/gs, '');
      for (const child of token.children ?? []) {
        if (child.type === 'link_open') child.attrSet('href', siteLink(child.attrGet('href'), env.relativePath));
      }
    }
  });
  const fence = md.renderer.rules.fence;
  md.renderer.rules.fence = (tokens, index, ...rest) => {
    const { info, content } = tokens[index];
    if (info.trim() !== 'mermaid') return fence(tokens, index, ...rest);
    return `<Picture source="${encodeURIComponent(content)}" />`;
  };
}

/** The order of the index is the order of the side bar. */
function sidebar() {
  const groups = [];
  for (const line of readFileSync(path.join(docs, 'README.md'), 'utf8').split('\n')) {
    const heading = /^## (.*)/.exec(line)?.[1];
    if (heading) groups.push({ text: heading, items: [] });
    for (const [, text, target] of line.matchAll(/\[([^\]]+)\]\(([^)]+)\)/g)) {
      const link = siteLink(target, 'index.md');
      if (link === target || link.endsWith('index.md')) {
        groups
          .at(-1)
          ?.items.push({ text: text[0].toUpperCase() + text.slice(1), link: `/${link.replace(/(index)?\.md$/, '')}` });
      }
    }
  }
  return groups;
}

export default defineConfig({
  title: 'routing-controllers-sessions',
  description: 'Session authentication for routing-controllers on Koa',
  lang: 'en',
  srcDir: '../docs',
  outDir: '../build/site',
  cacheDir: '../.cache/site',
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  base: process.env.SITE_BASE ?? '/',
  rewrites: { 'README.md': 'index.md', ':folder/README.md': ':folder/index.md' },
  lastUpdated: false,
  markdown: { anchor: { slugify }, toc: { slugify }, headers: { slugify }, config: adaptMarkdown },
  themeConfig: {
    sidebar: sidebar(),
    outline: [2, 3],
    search: { provider: 'local', options: { miniSearch: { options: { processTerm: stem } } } },
    socialLinks: [{ icon: 'github', link: repository }],
    docFooter: { prev: false, next: false },
  },
});
