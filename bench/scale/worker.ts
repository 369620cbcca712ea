import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { serve } from '../servers/ours.js';
import type { Engines } from '../subject.js';
import { type OperationTimes, timeOperations } from './operations.js';
import { FEW, MANY, Population } from './population.js';
import { openStore, type StoreName } from './stores.js';

/** The argument of the process, as JSON. */
export interface Order {
  store: StoreName;
  engines: Engines;
  groups: number;
}

/** The questions of the campaign, with their arguments and answers. */
export interface Questions {
  /** Grows the store to that many sessions, and returns the seconds that it took. */
  grow: { argument: number; answer: number };
  bytes: { argument: undefined; answer: Size };
  operations: { argument: undefined; answer: OperationTimes };
  /** Sweeps one group of expired sessions. */
  sweep: { argument: number; answer: Sweep };
  /** Checks that every living session is there. */
  inspect: { argument: undefined; answer: string[] };
  close: { argument: undefined; answer: undefined };
}

export type Question = keyof Questions;

export interface Size {
  bytes: number;
  /** Of this process. */
  resident: number;
}

export interface Sweep {
  deleted: number;
  expected: number;
  seconds: number;
}

async function main({ store, engines, groups }: Order): Promise<void> {
  const { backend, filling = backend, settle, bytes, close } = await openStore(store, engines);
  const population = new Population(filling, groups);
  const handler = serve(backend);
  const server = createServer((request, response) => void handler(request, response)).listen(0, '127.0.0.1');
  // An idle connection that the server closes just as the client reuses it would count as a failed request.
  server.keepAliveTimeout = 0;
  await new Promise(resolve => server.once('listening', resolve));
  // Warms up on a small store.
  for (const { principal, sessions } of [FEW, MANY])
    for (let n = 0; n < sessions; n++) await filling.create(population.newRecord(principal));

  const answers: { [Q in Question]: (argument: Questions[Q]['argument']) => Promise<Questions[Q]['answer']> } = {
    grow: async size => {
      const begun = performance.now();
      await population.growTo(size);
      const seconds = (performance.now() - begun) / 1000;
      await settle?.();
      return seconds;
    },
    bytes: async () => ({ bytes: await bytes(), resident: process.memoryUsage().rss }),
    operations: async () => {
      await timeOperations(backend, population);
      return timeOperations(backend, population);
    },
    sweep: async group => {
      const begun = performance.now();
      const ids = population.expired[group] ?? [];
      const deleted = await backend.deleteExpired(Population.expiryOf(group));
      return { deleted, expected: ids.length, seconds: (performance.now() - begun) / 1000 };
    },
    inspect: async () => (await timeOperations(backend, population)).violations,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await backend.close();
      await close();
    },
  };
  process.on('message', ({ question, argument }: { question: Question; argument: never }) => {
    void answers[question](argument).then(
      answer => {
        process.send?.({ answer });
        if (question === 'close') process.disconnect?.();
      },
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        process.exit(1);
      },
    );
  });
  process.send?.({ answer: (server.address() as AddressInfo).port });
}

void main(JSON.parse(process.argv[2] ?? '') as Order);
