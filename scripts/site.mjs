/*
 * Installs the packages of the documentation site on the first run, then serves or builds it:
 *
 *     node scripts/site.mjs dev|build
 */
import { existsSync } from 'node:fs';
import path from 'node:path';

import { root, runFile, runNpm } from './run.mjs';

const [command, ...options] = process.argv.slice(2);
const vitepress = 'site/node_modules/vitepress/bin/vitepress.js';

process.exitCode = existsSync(path.join(root, vitepress))
  ? 0
  : runNpm(['ci', '--prefix', 'site', '--no-audit', '--no-fund']);
if (process.exitCode === 0) process.exitCode = runFile(vitepress, [command, 'site', ...options]);
