import { join } from 'node:path';

import { request } from '../guard/in-process.js';
import { spoil } from '../load.js';
import { type Costed, ROUTES } from '../measure.js';
import type { Engines, Opened, ServerModule, Store } from '../subject.js';

/** The questions of the parent process, with their arguments and answers. */
export interface Questions {
  /** CPU time of one request in microseconds, with so many at a time. */
  request: { argument: { atOnce: number; route: Costed }; answer: number };
  /** The same of the driver's own call for a session, without a request. */
  call: { argument: number; answer: number };
  close: { argument: undefined; answer: undefined };
}

type Asked = { [Q in keyof Questions]: { question: Q; argument: Questions[Q]['argument'] } }[keyof Questions];

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
  // The head as it was sent, because some servers write it without setting the headers before.
  const { _header: head = '' } = response as { _header?: string };
  return [...head.matchAll(/^set-cookie: ([^;\r\n]*)/gim)].map(([, cookie]) => cookie).join('; ');
}

async function main(): Promise<void> {
  const { module, store, engines } = JSON.parse(process.argv[2] ?? '') as Order;
  const { open } = (await import(join(__dirname, '../servers', `${module}.js`))) as ServerModule;
  const opened = await open(store, engines);
  const cookies: string[] = [];
  // A server without sessions gets a cookie too, because looking for one costs time.
  while (cookies.length < SESSIONS) cookies.push((await logIn(opened)) || `plain=${'0'.repeat(87)}`);
  const cookieOf = (n: number) => cookies[n % SESSIONS] ?? '';
  const spoilt = cookies.map(spoil);

  const ask = (name: Costed) => {
    const { method, path } = ROUTES[name];
    return async (n: number) => {
      const cookie = name === 'login' ? undefined : name === 'bad' ? spoilt[n % SESSIONS] : cookieOf(n);
      const { statusCode } = await request(opened.listener, method, path, cookie);
      if (statusCode !== 200) throw new Error(`${method} ${path} was answered with ${statusCode}`);
    };
  };
  const answerTo = (asked: Asked): unknown => {
    switch (asked.question) {
      case 'request':
        return cpuOf(asked.argument.atOnce, ask(asked.argument.route));
      case 'call':
        return cpuOf(asked.argument, n => opened.readOf?.(cookieOf(n)));
      case 'close':
        return opened.close?.();
    }
  };
  process.on('message', (asked: Asked) => {
    const { question } = asked;
    void Promise.resolve(answerTo(asked)).then(answer => {
      process.send?.({ answer });
      if (question === 'close') process.disconnect?.();
    });
  });
  process.send?.({ answer: 0 });
}

void main();
