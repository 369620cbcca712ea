import { openBackend } from './open-backend.js';
import { RaceRunner } from './race-runner.js';

/** Told by its parent: the engine, where it is, which part this process has, and what the races are made from. */
const [engine = '', address = '', part, run = '', seed] = process.argv.slice(2);

export interface RaceCall {
  call: number;
  method: 'setUp' | 'race' | 'verify';
  args: unknown[];
}

export interface RaceReply {
  call: number;
  value?: unknown;
  error?: string;
}

const opened = openBackend(engine, address).then(backend => new RaceRunner(backend, Number(part), run, Number(seed)));

process.on('message', message => {
  const { call, method, args } = message as RaceCall;
  opened
    .then(runner => (runner[method] as (...args: unknown[]) => Promise<unknown>)(...args))
    .then(
      (value): RaceReply => ({ call, value }),
      (error: unknown): RaceReply => ({ call, error: String(error) }),
    )
    .then(reply => process.send?.(reply))
    .catch(() => process.disconnect());
});
