import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

import { type Browser, chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Chromium of this machine, or of `CHROMIUM` in the environment; installed where Debian's packages can be. */
const executablePath = process.env['CHROMIUM'] ?? PLACES.find(existsSync) ?? install();

/** `describe`, where there is a browser. Without one it is skipped, which is said; with `CI=true` it fails. */
export const describeInBrowser = executablePath === undefined ? skipAll() : describe;

function install(): string | undefined {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return undefined;
  console.warn('test/browser: installing Chromium from the distribution');
  try {
    const apt = (...args: string[]) =>
      execFileSync('apt-get', ['-o', 'DPkg::Lock::Timeout=300', '-y', ...args], { stdio: 'pipe' });
    apt('update');
    apt('install', '--no-install-recommends', 'chromium', 'fonts-dejavu-core');
  } catch (error) {
    console.warn(`test/browser: ${String(error)}`);
  }
  return PLACES.find(existsSync);
}

function skipAll(): typeof describe.skip {
  const message = 'no Chromium: set CHROMIUM to one, or install it';
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
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  });
}
