import { createInterface } from 'node:readline/promises';
import { EXIT, Failure, wrongUsage } from './failure.js';

/**
 * Asks on the terminal before something that cannot be undone.
 *
 * @throws Failure when the answer is no, or nobody is there to ask
 */
export async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY) throw wrongUsage('there is no terminal to ask on: add --yes if all of them are to end');
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asking.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new Failure('nothing was ended', EXIT.no);
  } finally {
    asking.close();
  }
}
