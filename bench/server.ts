import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import type { Engines, ServerModule, Store } from './subject.js';

/** The questions of the parent process, with their arguments and answers. */
export interface Questions {
  /** CPU time so far, in microseconds. */
  cpu: { argument: undefined; answer: number };
  /** Bytes on the heap and beside it, after a full collection. */
  memory: { argument: undefined; answer: number };
  statements: { argument: undefined; answer: number };
  grow: { argument: number; answer: undefined };
  close: { argument: undefined; answer: undefined };
}

export type Question = keyof Questions;

/** The argument of the process, as JSON. */
export interface Order {
  module: string;
  store: Store;
  engines: Engines;
}

function memoryInUse(): number {
  for (let pass = 0; pass < 3; pass++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function main(): Promise<void> {
  const { module, store, engines } = JSON.parse(process.argv[2] ?? '') as Order;
  const { open } = (await import(join(__dirname, 'servers', `${module}.js`))) as ServerModule;
  const opened = await open(store, engines);
  const server = createServer((request, response) => void opened.listener(request, response)).listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));

  const answerTo = async (question: Question, argument: unknown): Promise<unknown> => {
    switch (question) {
      case 'cpu': {
        const { user, system } = process.cpuUsage();
        return user + system;
      }
      case 'memory':
        return memoryInUse();
      case 'statements':
        return opened.statements?.() ?? 0;
      case 'grow':
        return opened.grow?.(argument as number);
      case 'close':
        server.closeAllConnections();
        server.close();
        return opened.close?.();
    }
  };
  process.on('message', ({ question, argument }: { question: Question; argument: unknown }) => {
    void answerTo(question, argument).then(answer => {
      process.send?.({ answer });
      if (question === 'close') process.disconnect?.();
    });
  });
  process.send?.({ answer: (server.address() as AddressInfo).port });
}

void main();
