import { createHash } from 'node:crypto';
import type { RedisCommands } from './client.js';

/**
 * Tells Dragonfly that a script uses keys that it was not called with: their names depend on what is stored. To other servers it
 * is a comment.
 */
const UNDECLARED_KEYS = '--!df flags=allow-undeclared-keys\n';

/** A Lua script that is sent once, and after that called by its hash. */
export class Script {
  readonly #source: string;
  readonly #sha1: string;

  constructor(source: string) {
    this.#source = UNDECLARED_KEYS + source;
    this.#sha1 = createHash('sha1').update(this.#source).digest('hex');
  }

  async run(client: RedisCommands, keys: string[], args: (string | number)[]): Promise<unknown> {
    const options = { keys, arguments: args.map(String) };
    try {
      return await client.evalSha(this.#sha1, options);
    } catch (error) {
      // The server was restarted, or has not seen the script yet.
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return client.eval(this.#source, options);
    }
  }
}
