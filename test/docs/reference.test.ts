import { spawnSync } from 'node:child_process';
import path from 'node:path';

import { root } from './markdown.js';

test('docs/reference matches the doc comments, and every public name has one', () => {
  const { status, stderr } = spawnSync(process.execPath, [path.join(root, 'scripts/reference.mjs'), '--check'], {
    encoding: 'utf8',
  });
  expect(`${stderr}exit ${String(status)}`).toBe('exit 0');
});
