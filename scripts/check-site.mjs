// Asks the search of the built site what readers ask. Each question must have its page among the first five answers.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { stem } from '../site/.vitepress/stem.mjs';
import { root } from './run.mjs';

const QUESTIONS = {
  'install typedi tsconfig': 'getting-started',
  'supertest log in': 'testing',
  'remember me': 'recipes',
  'change secret key': 'cookies',
  ERR_SESSION_GONE: 'errors',
  'docker compose': 'deployment',
  'behind a proxy': 'deployment',
  websocket: 'recipes',
  'idle timeout': 'sessions',
  'redis cluster': 'backends/redis',
  'near-cache': 'backends/redis',
  'migrate table': 'backends/postgres',
  vitest: 'tool-chains',
  'express-session': 'moving/express-session',
  'koa-session': 'moving/koa-session',
  subdomain: 'subdomains',
  csrf: 'security',
  'log out all devices': 'sessions',
  'own backend': 'backends/own',
  RequireSession: 'options',
};

const chunks = path.join(root, 'build/site/assets/chunks');
const file = readdirSync(chunks).find(name => name.startsWith('@localSearchIndex'));
const module = readFileSync(path.join(chunks, file)).toString('base64');
const { default: json } = await import(`data:text/javascript;base64,${module}`);

const require = createRequire(path.join(root, 'site/package.json'));
const MiniSearch = require('minisearch');
// The options of VitePress's search box.
const index = MiniSearch.loadJSON(json, {
  fields: ['title', 'titles', 'text'],
  processTerm: stem,
  storeFields: ['title', 'titles'],
  searchOptions: { fuzzy: 0.2, prefix: true, boost: { title: 4, text: 2, titles: 1 } },
});

const unanswered = Object.entries(QUESTIONS).filter(([question, page]) => {
  const pages = index.search(question).map(({ id }) => id.replace(/^\/|(\.html)?(#.*)?$/g, ''));
  const first = [...new Set(pages)].slice(0, 5);
  if (first.includes(page)) return false;
  console.error(`'${question}' leads to ${first.join(', ') || 'nothing'}, not to ${page}`);
  return true;
});
console.log(
  `The search answers ${Object.keys(QUESTIONS).length - unanswered.length} of ${Object.keys(QUESTIONS).length} questions`,
);
process.exitCode = unanswered.length === 0 ? 0 : 1;
