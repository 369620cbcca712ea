import { type Browser, chromium } from 'playwright-core';

import { findProgram } from '../support/engines.js';

/** Chromium of this machine, or the one that `CHROMIUM` names. `npm test` sees to it that there is one where it can. */
const executablePath =
  process.env['CHROMIUM'] ?? ['chromium', 'chromium-browser', 'google-chrome'].map(findProgram).find(Boolean);

/** `describe`, where there is a browser. Without one it is skipped, which is said; with `CI=true` it fails. */
export const describeInBrowser = executablePath === undefined ? skipAll() : describe;

function skipAll(): typeof describe.skip {
  const message = 'no Chromium: set CHROMIUM to one. As root on Debian: node scripts/install-engines.mjs';
  if (process.env['CI'] === 'true') throw new Error(`test/browser: ${message}`);
  console.warn(`test/browser: SKIPPED, ${message}`);
  return describe.skip;
}

export function launch(): Promise<Browser> {
  return chromium.launch({
    ...(executablePath === undefined ? {} : { executablePath }),
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // A name that is not this machine's, as an address in a local network.
      '--host-resolver-rules=MAP lan.test 127.0.0.1',
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  });
}
