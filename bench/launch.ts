import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { resolve } from 'node:path';

import type { Order, Questions } from './server.js';
import type { Engines, Subject } from './subject.js';

/** The core of the load generator. Servers run on the first one, or on all but that of the generator in turn. */
const GENERATOR_CORE = 1;
const SERVER_CORES = cpus()
  .map((_, core) => core)
  .filter(core => core !== GENERATOR_CORE);

const ANSWER_WITHIN = 120_000;

type Asked<Q> = Record<keyof Q, { argument: unknown; answer: unknown }>;

/** A server in a new process, which answers questions. */
export class Launch<Q extends Asked<Q> = Questions> {
  private constructor(
    private readonly child: ChildProcess,
    private readonly within: number,
    readonly url: string,
  ) {}

  static of({ module, store }: Subject, engines: Engines): Promise<Launch> {
    const order: Order = { module, store, engines };
    return Launch.start('server', order);
  }

  /** Launches several processes of one server, which share a store. */
  static async several({ module, store }: Subject, engines: Engines, count: number): Promise<Launch[]> {
    const order: Order = { module, store, engines: { ...engines, shared: String(process.pid) } };
    const launches: Launch[] = [];
    while (launches.length < count)
      launches.push(await Launch.start('server', order, ANSWER_WITHIN, [], launches.length));
    return launches;
  }

  /**
   * @param module the module's path from here, without its extension
   * @param within the time limit of each answer, in milliseconds
   * @param flags further options of Node
   * @param nth the number of the process, of those that run at once
   */
  static async start<Q extends Asked<Q>>(
    module: string,
    order: object,
    within: number = ANSWER_WITHIN,
    flags: readonly string[] = [],
    nth = 0,
  ): Promise<Launch<Q>> {
    const child = fork(resolve(__dirname, `${module}.js`), [JSON.stringify(order)], {
      execArgv: ['--expose-gc', ...flags],
      env: { ...process.env, NODE_ENV: 'production' },
    });
    if (child.pid !== undefined) pin(child.pid, SERVER_CORES[nth % SERVER_CORES.length] ?? 0);
    const port = await answerOf<number>(child, within);
    return new Launch(child, within, `http://127.0.0.1:${port}`);
  }

  ask<K extends keyof Q>(question: K, argument?: Q[K]['argument']): Promise<Q[K]['answer']> {
    const answer = answerOf<Q[K]['answer']>(this.child, this.within);
    this.child.send({ question, argument });
    return answer;
  }

  async close(): Promise<void> {
    const exited = new Promise(resolve => this.child.once('exit', resolve));
    const answer = answerOf(this.child, this.within);
    this.child.send({ question: 'close' });
    await answer;
    const giveUp = setTimeout(() => this.child.kill('SIGKILL'), 2_000);
    await exited;
    clearTimeout(giveUp);
  }
}

/** Whether processes can be pinned to cores. */
export const canPin = process.platform === 'linux' && spawnSync('taskset', ['-p', String(process.pid)]).status === 0;

/** Pins this process, which makes the load, to another core than the servers. */
export function pinGenerator(): void {
  pin(process.pid, GENERATOR_CORE);
}

function pin(pid: number, core: number): void {
  if (canPin) spawnSync('taskset', ['-a', '-cp', String(core), String(pid)]);
}

function answerOf<T>(child: ChildProcess, within: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      child.off('message', onMessage).off('exit', onExit);
    };
    const onMessage = ({ answer }: { answer: T }) => {
      settle();
      resolve(answer);
    };
    const onExit = (code: number | null) => {
      settle();
      reject(new Error(`a server's process ended with ${String(code)}`));
    };
    const timer = setTimeout(() => {
      settle();
      reject(new Error(`a server did not answer within ${within} ms`));
    }, within);
    child.on('message', onMessage).on('exit', onExit);
  });
}
