import 'reflect-metadata';

import { createPlayground } from './app.js';
import { backends } from './backends.js';
import { openServer } from './http-server.js';
import { createOtherOrigin } from './other-origin.js';
import { readSettings } from './settings.js';
import { SettingsError } from './settings-error.js';

/** Milliseconds that requests under way have left after the signal to stop. */
const GRACE = 5000;

/** How to close everything that is open, the last one first. */
const closing: (() => unknown)[] = [];

async function start(): Promise<void> {
  const { port, otherPort, host, secretKey, backendName, openBackend } = readSettings(process.env);
  let playgroundPort = port;
  const otherApp = createOtherOrigin(() => playgroundPort);
  const otherOrigin = await openServer(otherApp.callback(), otherPort, host, 'OTHER_PORT');
  closing.unshift(() => otherOrigin.close(GRACE));

  const { backend, place, close } = await openBackend();
  if (close) closing.unshift(close);
  const playground = createPlayground({ secretKey, backend, backendName, otherPort: otherOrigin.port });
  closing.unshift(() => playground.close());
  const server = await openServer(playground.app.callback(), port, host, 'PORT');
  closing.unshift(
    () => playground.hangUp(),
    () => server.close(GRACE),
  );
  playgroundPort = server.port;
  console.log(`Playground: ${server.url}`);
  console.log(`Sessions:   SESSION_BACKEND=${backendName}, in ${place}. Other backends: ${others(backendName)}`);
  console.log(`Also:       a page of another origin, on ${otherOrigin.url}. All settings: docs/playground.md`);
}

function others(backendName: string): string {
  return Object.keys(backends)
    .filter(name => name !== backendName)
    .join(', ');
}

async function stop(): Promise<void> {
  for (const close of closing.splice(0)) await close();
}

function fail(error: unknown): void {
  console.error(error instanceof SettingsError ? error.message : error);
  process.exitCode = 1;
}

// A second signal ends the process immediately.
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void stop().catch(fail));

start().catch((error: unknown) => {
  fail(error);
  stop().catch(fail);
});
