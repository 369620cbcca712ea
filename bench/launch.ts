import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { join } from 'node:path';

import type { Order, Question, Questions } from './server.js';
import type { Engines, Subject } from './subject.js';

/** The core that servers run on; the load generator runs on the other one. */
const SERVER_CORE = 0;
const GENERATOR_CORE = 1;

const ANSWER_WITHIN = 120_000;

/** A server in a fresh process of its own. */
export class Launch {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async of({ module, store }: Subject, engines: Engines): Promise<Launch> {
    const order: Order = { module, store, engines };
    const child = fork(join(__dirname, 'server.js'), [JSON.stringify(order)], {
      execArgv: ['--expose-gc'],
      env: { ...process.env, NODE_ENV: 'production' },
    });
    if (child.pid !== undefined) pin(child.pid, SERVER_CORE);
    const port = await answerOf<number>(child);
    return new Launch(child, `http://127.0.0.1:${port}`);
  }

  ask<Q extends Question>(question: Q, argument?: Questions[Q]['argument']): Promise<Questions[Q]['answer']> {
    const answer = answerOf<Questions[Q]['answer']>(this.child);
    this.child.send({ question, argument });
    return answer;
  }

  async close(): Promise<void> {
    const exited = new Promise(resolve => this.child.once('exit', resolve));
    await this.ask('close');
    const giveUp = setTimeout(() => this.child.kill('SIGKILL'), 2_000);
    await exited;
    clearTimeout(giveUp);
  }
}

/** Whether processes can be kept apart here. */
export const canPin = process.platform === 'linux' && spawnSync('taskset', ['-p', String(process.pid)]).status === 0;

/** Keeps this process, which makes the load, away from the servers. */
export function pinGenerator(): void {
  pin(process.pid, GENERATOR_CORE);
}

function pin(pid: number, core: number): void {
  if (canPin) spawnSync('taskset', ['-a', '-cp', String(core), String(pid)]);
}

function answerOf<T>(child: ChildProcess): Promise<T> {
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
      reject(new Error(`a server did not answer within ${ANSWER_WITHIN} ms`));
    }, ANSWER_WITHIN);
    child.on('message', onMessage).on('exit', onExit);
  });
}
