import { join } from 'node:path';

import { request } from '../guard/in-process.js';
import type { Engines, Opened, ServerModule, Store } from '../subject.js';

/** The questions of the parent process, with their arguments and answers. */
export interface Questions {
  /** CPU time of one authenticated request in microseconds, with so many at a time. */
  request: { argument: number; answer: number };
  /** The same of the driver's own call for a session, without a request. */
  call: { argument: number; answer: number };
  close: { argument: undefined; answer: undefined };
}

/** The argument of the process, as JSON. */
export interface Order {
  module: string;
  store: Store;
  engines: Engines;
}

/** The number of sessions, which are read in turn. */
const SESSIONS = 200;

/** Requests of one reading of the CPU time: some hundredths of a second. */
const TIMED = 500;

/** Does something {@link TIMED} times, so many at a time, and returns the CPU time of each in microseconds. */
async function cpuOf(atOnce: number, once: (n: number) => unknown): Promise<number> {
  let next = 0;
  const worker = async () => {
    while (next < TIMED) await once(next++);
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: atOnce }, worker));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / TIMED;
}

async function logIn({ listener }: Opened): Promise<string> {
  const response = await request(listener, 'POST', '/login', undefined);
  const header = [response.getHeader('set-cookie') ?? ''].flat()[0];
  return String(header).split(';', 1)[0] ?? '';
}

async function main(): Promise<void> {
  const { module, store, engines } = JSON.parse(process.argv[2] ?? '') as Order;
  const { open } = (await import(join(__dirname, '../servers', `${module}.js`))) as ServerModule;
  const opened = await open(store, engines);
  const cookies: string[] = [];
  while (cookies.length < SESSIONS) cookies.push(await logIn(opened));
  const cookieOf = (n: number) => cookies[n % SESSIONS] ?? '';

  const authenticated = async (n: number) => {
    const { statusCode } = await request(opened.listener, 'GET', '/me', cookieOf(n));
    if (statusCode !== 200) throw new Error(`an authenticated request was answered with ${statusCode}`);
  };
  const answerTo = (question: keyof Questions, argument: number): unknown => {
    switch (question) {
      case 'request':
        return cpuOf(argument, authenticated);
      case 'call':
        return cpuOf(argument, n => opened.readOf?.(cookieOf(n)));
      case 'close':
        return opened.close?.();
    }
  };
  process.on('message', ({ question, argument }: { question: keyof Questions; argument: number }) => {
    void Promise.resolve(answerTo(question, argument)).then(answer => {
      process.send?.({ answer });
      if (question === 'close') process.disconnect?.();
    });
  });
  process.send?.({ answer: 0 });
}

void main();
