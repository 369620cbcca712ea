// The playground's page. Each step of it has a module of its own.

import { at } from './dom.js';
import { showSources } from './exchange.js';
import './steps/log-in.js';
import './steps/session.js';
import './steps/thief.js';
import './steps/clock.js';
import './steps/twenty.js';
import './steps/slow.js';
import './steps/devices.js';
import './steps/vault.js';
import './steps/admin.js';
import { frameOtherOrigin } from './steps/other-origin.js';
import { refresh, startTicking } from './visitor.js';

const BACKENDS = {
  memory: 'in the memory of this process, and gone when it ends',
  lmdb: 'in LMDB, a database in a folder of this machine',
  sqlite: 'in SQLite, a database in a file of this machine',
  redis: 'in Redis',
  postgres: 'in PostgreSQL',
  mysql: 'in MySQL',
};

async function showSettings() {
  const { backend, otherPort } = await fetch('/settings.json').then(response => response.json());
  at('backend').textContent = `Sessions are kept ${BACKENDS[backend] ?? `in ${backend}`}.`;
  frameOtherOrigin(otherPort);
}

at('insecure').hidden = isSecureContext;
void showSources();
void showSettings();
void refresh();
startTicking();
