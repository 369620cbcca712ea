import { type Browser, chromium } from 'playwright-core';

import { findProgram } from '../support/engines.js';

/** The Chromium that `CHROMIUM` names, or the installed one. */
const executablePath =
  process.env['CHROMIUM'] ?? ['chromium', 'chromium-browser', 'google-chrome'].map(findProgram).find(Boolean);

/** `describe` if there is a browser. Without one the tests are skipped with a warning; with `CI=true` they fail. */
export const describeInBrowser = executablePath === undefined ? skipAll() : describe;

function skipAll(): typeof describe.skip {
  const message = 'no Chromium: set CHROMIUM to one. To install it: npm run engines';
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
