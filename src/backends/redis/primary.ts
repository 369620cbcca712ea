import { SessionConfigurationError } from '../../core/errors.js';
import type { RedisNodeClient, ScanOptions, ScriptOptions } from './client.js';
import { quickGet } from './quick-get.js';

/** Milliseconds between two questions to a server that is not a primary, or was not when it was last asked. */
const ASK_AGAIN = 1_000;

/** The first words of a server's refusals. */
const REPLICA = 'READONLY ';
const NODE_OF_A_CLUSTER = 'MOVED ';

/** Writes nothing, but only a primary runs it. */
const QUESTION = "return redis.call('DEL', KEYS[1])";

/** - `unsure`: the next command asks first. - `refused`: this client can never work. */
type State = { readonly is: 'primary' } | { readonly is: 'unsure' } | { readonly is: 'refused'; readonly error: Error };

const PRIMARY: State = { is: 'primary' };
const UNSURE: State = { is: 'unsure' };

/**
 * A client whose commands fail while its server is a replica, reads, too: a replica may still have ended sessions for as long
 * as it does not hear of its primary.
 *
 * A server is known to be a replica from the first write that it refuses. After a client has connected again, it is asked before
 * its first command. It is asked with one command at a time, and at most once a second; in good times not at all.
 */
export class PrimaryOnly implements RedisNodeClient {
  readonly #client: RedisNodeClient;
  readonly #get: (key: string) => Promise<unknown>;
  readonly #key: string;
  readonly #onUnsure = new Set<() => void>();
  #state = PRIMARY;
  #asking: Promise<void> | undefined;
  #askedAt = -Infinity;
  #answer: unknown;

  /** @param key of the keys that the client may write, one that nothing else uses */
  constructor(client: RedisNodeClient, key: string) {
    this.#client = client;
    this.#get = quickGet(client);
    this.#key = key;
    const { on } = client as { on?: (event: string, listener: (what?: { type?: unknown }) => void) => unknown };
    const moved = (): void => {
      this.#askedAt = -Infinity;
      this.#doubt();
    };
    // From the loss of a connection on, because commands that wait for the next one may be sent to another server.
    for (const event of ['reconnecting', 'ready']) on?.call(client, event, moved);
    on?.call(client, 'topology-change', what => {
      if (what?.type === 'MASTER_CHANGE') moved();
    });
  }

  /** Calls a listener when the server may not be the primary any more, or not the one that it was. */
  onUnsure(listener: () => void): void {
    this.#onUnsure.add(listener);
  }

  offUnsure(listener: () => void): void {
    this.#onUnsure.delete(listener);
  }

  /** Lets every command fail from now on. */
  refuse(error: Error): void {
    this.#state = { is: 'refused', error };
  }

  get(key: string): Promise<unknown> {
    return this.#state === PRIMARY ? this.#get(key) : this.#run(() => this.#client.get(key));
  }

  evalSha(sha1: string, options: ScriptOptions): Promise<unknown> {
    return this.#run(() => this.#client.evalSha(sha1, options));
  }

  eval(script: string, options: ScriptOptions): Promise<unknown> {
    return this.#run(() => this.#client.eval(script, options));
  }

  scan(cursor: string, options: ScanOptions): Promise<{ cursor: unknown; keys: unknown[] }> {
    return this.#run(() => this.#client.scan(cursor, options));
  }

  #run<R>(command: () => Promise<R>): Promise<R> {
    const answer = this.#state === PRIMARY ? command() : this.#assertPrimary().then(command);
    return answer.catch((error: unknown) => {
      throw this.#judge(error);
    });
  }

  #judge(error: unknown): unknown {
    if (!(error instanceof Error)) return error;
    if (error.message.startsWith(NODE_OF_A_CLUSTER)) return nodeOfCluster(error);
    if (error.message.startsWith(REPLICA) && this.#state === PRIMARY) {
      this.#askedAt = performance.now();
      this.#answer = error;
      this.#doubt();
    }
    return error;
  }

  #doubt(): void {
    if (this.#state !== PRIMARY) return;
    this.#state = UNSURE;
    for (const listener of this.#onUnsure) listener();
  }

  async #assertPrimary(): Promise<void> {
    if (this.#state.is === 'refused') throw this.#state.error;
    if (!this.#asking && performance.now() - this.#askedAt >= ASK_AGAIN) {
      this.#askedAt = performance.now();
      this.#asking = this.#ask();
    }
    await this.#asking;
    if (this.#state === UNSURE) throw this.#answer;
  }

  async #ask(): Promise<void> {
    try {
      await this.#client.eval(QUESTION, { keys: [this.#key], arguments: [] });
      if (this.#state === UNSURE) this.#state = PRIMARY;
    } catch (error) {
      this.#answer = error;
    } finally {
      this.#asking = undefined;
    }
  }
}

/** One for each client, because each listens to it. */
const known = new WeakMap<RedisNodeClient, PrimaryOnly>();

export function primaryOnly(client: RedisNodeClient, key: string): PrimaryOnly {
  let primary = known.get(client);
  if (!primary) known.set(client, (primary = new PrimaryOnly(client, key)));
  return primary;
}

export function nodeOfCluster(cause?: unknown): SessionConfigurationError {
  return new SessionConfigurationError(
    'client: is connected to one node of a Redis cluster, which has only some of the sessions; write ' +
      "createCluster({ rootNodes: [{ url }] }) with 'redis' or new Cluster([{ host, port }]) with 'ioredis', and give " +
      'RedisBackend that client',
    { cause },
  );
}
