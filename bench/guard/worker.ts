import { join } from 'node:path';
import { GCProfiler, promiseHooks } from 'node:v8';

import type { ServerModule, Store } from '../subject.js';
import { request } from './in-process.js';
import { type Scenario, SCENARIOS, type ScenarioName } from './scenarios.js';

/** What one request makes. */
export interface Made {
  bytes: number;
  promises: number;
}

/** The questions of the parent process, with their arguments and answers. */
export interface Questions {
  made: { argument: ScenarioName; answer: Made };
  /** CPU time of one request, in microseconds. */
  cpu: { argument: ScenarioName; answer: number };
  close: { argument: undefined; answer: undefined };
}

/** The argument of the process, as JSON. */
export interface Order {
  module: string;
  store: Store;
}

/** Requests that fill caches and, without the optimising compilers, bring every allocation site to rest. */
const WARM_UP = 500;

const BATCHES = 11;
const BATCH = 50;

/** Requests of one reading of the CPU time: some hundredths of a second. */
const TIMED = 250;

type Ask = (count: number) => Promise<void>;

async function made(ask: Ask): Promise<Made> {
  await ask(WARM_UP);
  globalThis.gc?.();
  const collections = new GCProfiler();
  collections.start();
  // What a collection leaves to be set up again is not counted.
  await ask(BATCH);
  const bytes = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const before = memoryInUse();
    await ask(BATCH);
    bytes.push((memoryInUse() - before) / BATCH);
  }
  if (collections.stop().statistics.length > 0) throw new Error('a collection ran while allocations were counted');
  // What else happens in the process adds to some batches, and takes nothing away from any.
  return { bytes: Math.min(...bytes), promises: await promisesOf(ask) };
}

function memoryInUse(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function promisesOf(ask: Ask): Promise<number> {
  let promises = 0;
  const stop = promiseHooks.onInit(() => promises++) as () => void;
  await ask(BATCH);
  stop();
  // Fewer than one of a request are those of the loop.
  return Math.floor(promises / BATCH);
}

async function cpu(ask: Ask): Promise<number> {
  const before = process.cpuUsage();
  await ask(TIMED);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / TIMED;
}

async function main(): Promise<void> {
  const { module, store } = JSON.parse(process.argv[2] ?? '') as Order;
  const { open } = (await import(join(__dirname, '../servers', `${module}.js`))) as ServerModule;
  const { listener } = await open(store, { redisPort: undefined, postgres: false, mysql: false, folder: '' });
  const isPlain = module === 'plain';

  const login = await request(listener, 'POST', '/login', undefined);
  const [signed = ''] = [login.getHeader('set-cookie') ?? ''].flat().map(header => String(header).split(';')[0]);
  const cookies = { signed, spoilt: signed.replace(/..$/, end => (end === 'AA' ? 'BB' : 'AA')), none: undefined };

  // The first guarded request turns asynchronous context tracking on, which makes every promise larger on Node 20.
  await request(listener, 'GET', '/me', signed);

  const askOf = (name: ScenarioName): Ask => {
    const { method, path, cookie, status }: Scenario = SCENARIOS[name];
    return async count => {
      for (let n = 0; n < count; n++) {
        const { statusCode } = await request(listener, method, path, cookies[cookie]);
        if (statusCode !== (isPlain ? 200 : status)) throw new Error(`${name} was answered with ${statusCode}`);
      }
    };
  };
  process.on('message', ({ question, argument }: { question: keyof Questions; argument: ScenarioName }) => {
    const answer = question === 'close' ? undefined : { made, cpu }[question](askOf(argument));
    void Promise.resolve(answer).then(answer => {
      process.send?.({ answer });
      if (question === 'close') process.disconnect?.();
    });
  });
  process.send?.({ answer: 0 });
}

void main();
