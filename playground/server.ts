import 'reflect-metadata';

import { createPlayground } from './app.js';
import { openServer } from './http-server.js';
import { readSettings } from './settings.js';
import { SettingsError } from './settings-error.js';

/** Milliseconds that requests under way get when the server is told to stop. */
const GRACE = 5000;

async function start(): Promise<void> {
  const settings = readSettings(process.env);
  const { port, host, secretKey, backendName } = settings;
  const playground = createPlayground({ secretKey, backend: await settings.openBackend() });
  const server = await openServer(playground.app.callback(), port, host).catch(async (error: unknown) => {
    // What the backend holds open would keep the process alive.
    await playground.close();
    throw error;
  });
  console.log(`Playground: ${server.url} (sessions in ${backendName})`);

  const stop = () => {
    server
      .close(GRACE)
      .then(() => playground.close())
      .catch(fail);
  };
  // Once: a second signal ends the process at once.
  process.once('SIGTERM', stop).once('SIGINT', stop);
}

function fail(error: unknown): void {
  console.error(error instanceof SettingsError ? error.message : error);
  process.exitCode = 1;
}

start().catch(fail);
