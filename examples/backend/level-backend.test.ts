import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describeSessionBackend } from 'routing-controllers-sessions/testing';

import { LevelBackend } from './level-backend.js';

const folder = mkdtempSync(join(tmpdir(), 'level-'));
afterAll(() => rmSync(folder, { recursive: true }));

describeSessionBackend('LevelBackend', () => LevelBackend.open(mkdtempSync(join(folder, 'store-'))), {
  openAgain: first => LevelBackend.open((first as LevelBackend).folder),
  extraHandles: 0,
  // A fifth of the default, because each change waits for the disk.
  races: 200,
  cutOff: backend => backend.close(),
});
