import type { ChildProcess } from 'node:child_process';
import { SessionBackend, type WriteOutcome } from '../core/backend.js';
import type { SessionLimit } from '../core/limit.js';
import type { SessionRecord } from '../core/record.js';
import { endsAll } from '../core/ends-all.js';

/** The methods of the contract. Only these travel between the two processes. */
type Method = Exclude<keyof SessionBackend, 'forgetsByItself'>;

interface Call {
  call: number;
  /** The number of the backend in that process. */
  backend: number;
  method: Method | 'open';
  args: unknown[];
}

/** The answer to `open`. */
interface Opened {
  /** Whether the backend there has `deleteAll`. */
  endsAll: boolean;
}

/** A limit as it travels: a decision on it comes back with the answer. */
type Terms = Omit<SessionLimit, 'onDecided'>;

/** The answer to `create`. */
interface Created {
  isStored: boolean;
  /** Absent if the backend there has not looked at the limit. */
  decision?: readonly string[] | 'full';
}

interface Reply {
  call: number;
  /** Absent if the method returned `undefined`. */
  value?: unknown;
  error?: string;
}

/**
 * Opens backends in this process for the process that forked it; the other end is `openInProcess`.
 *
 * ```ts
 * serveSessionBackends(path => new MyBackend({ path }));
 * ```
 *
 * @param open gets what `openInProcess` was given
 * @throws Error when this process was not forked with an IPC channel
 */
export function serveSessionBackends(open: (store: string) => SessionBackend | Promise<SessionBackend>): void {
  if (!process.send) throw new Error('serveSessionBackends: start this process with child_process.fork');
  const backends = new Map<number, SessionBackend>();

  const perform = async ({ backend: number, method, args }: Call): Promise<unknown> => {
    if (method === 'open') {
      const backend = await open(args[0] as string);
      backends.set(number, backend);
      return { endsAll: endsAll(backend) } satisfies Opened;
    }
    const backend = backends.get(number);
    if (!backend) throw new Error('There is no such backend in this process');
    if (method === 'create') return createThere(backend, ...(args as [SessionRecord, Terms?]));
    return (backend[method] as (...args: unknown[]) => Promise<unknown>)(...args);
  };
  process.on('message', message => {
    const call = message as Call;
    perform(call)
      .then(
        (value): Reply => ({ call: call.call, value }),
        (error: unknown): Reply => ({ call: call.call, error: error instanceof Error ? error.message : String(error) }),
      )
      .then(reply => process.connected && process.send?.(reply))
      // The other process is gone, and no reply is needed any more.
      .catch(() => process.disconnect());
  });
}

/**
 * A backend that lives in another process, one that was forked and calls `serveSessionBackends`. One such process can hold
 * many. For `openAgain` of `describeSessionBackend`, so that races are run between processes:
 *
 * ```ts
 * const child = fork(require.resolve('./serve-my-backend.js'));
 * afterAll(() => child.kill());
 * describeSessionBackend('MyBackend', open, { openAgain: first => openInProcess(child, pathOf(first)) });
 * ```
 *
 * Calls reject when the process ends before it has answered. `close()` closes the backend, not the process.
 */
export async function openInProcess(child: ChildProcess, store: string): Promise<SessionBackend> {
  let channel = channels.get(child);
  if (!channel) channels.set(child, (channel = new Channel(child)));
  const backend = new RemoteBackend(channel);
  await backend.open(store);
  return backend;
}

async function createThere(backend: SessionBackend, record: SessionRecord, terms?: Terms): Promise<Created> {
  if (!terms) return { isStored: await backend.create(record) };
  const created: Created = { isStored: false };
  created.isStored = await backend.create(record, { ...terms, onDecided: decision => (created.decision = decision) });
  return created;
}

function termsOf({ most, whenFull, except, livesAfter }: SessionLimit): Terms {
  return { most, whenFull, except, livesAfter };
}

const channels = new WeakMap<ChildProcess, Channel>();

/** Numbers the calls to one process, so that each reply reaches its caller. */
class Channel {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #calls = 0;
  #backends = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', message => this.#settle(message as Reply));
    child.once('exit', (code, signal) => {
      const error = `The process of the backend ended with ${signal ?? `code ${code}`}`;
      for (const call of this.#waiting.keys()) this.#settle({ call, error });
    });
  }

  newBackend(): number {
    return this.#backends++;
  }

  call<T>(backend: number, method: Call['method'], args: unknown[]): Promise<T> {
    if (!this.#child.connected) return Promise.reject(new Error('The process of the backend has ended'));
    const call = this.#calls++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve: value => resolve(value as T), reject });
      this.#child.send({ call, backend, method, args } satisfies Call, error => {
        if (error) this.#settle({ call, error: error.message });
      });
    });
  }

  #settle({ call, value, error }: Reply): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(error));
  }
}

class RemoteBackend extends SessionBackend {
  readonly #channel: Channel;
  readonly #number: number;

  constructor(channel: Channel) {
    super();
    this.#channel = channel;
    this.#number = channel.newBackend();
  }

  async open(store: string): Promise<void> {
    const { endsAll } = await this.#channel.call<Opened>(this.#number, 'open', [store]);
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called on this object
    if (!endsAll) this.deleteAll = SessionBackend.prototype.deleteAll;
  }

  async create(record: SessionRecord, limit?: SessionLimit): Promise<boolean> {
    const args = limit ? [record, termsOf(limit)] : [record];
    const { isStored, decision } = await this.#channel.call<Created>(this.#number, 'create', args);
    if (decision !== undefined) limit?.onDecided(decision);
    return isStored;
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#channel.call(this.#number, 'read', [id]);
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return this.#channel.call(this.#number, 'update', [record, expectedVersion]);
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.#channel.call(this.#number, 'touch', [id, lastSeenAt, expiresAt]);
  }

  delete(id: string): Promise<boolean> {
    return this.#channel.call(this.#number, 'delete', [id]);
  }

  listByPrincipal(principal: string, limit?: number): Promise<SessionRecord[]> {
    return this.#channel.call(this.#number, 'listByPrincipal', limit === undefined ? [principal] : [principal, limit]);
  }

  deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    return this.#channel.call(
      this.#number,
      'deleteByPrincipal',
      exceptId === undefined ? [principal] : [principal, exceptId],
    );
  }

  deleteExpired(now: number): Promise<number> {
    return this.#channel.call(this.#number, 'deleteExpired', [now]);
  }

  override deleteAll(before: number): Promise<number> {
    return this.#channel.call(this.#number, 'deleteAll', [before]);
  }

  close(): Promise<void> {
    return this.#channel.call(this.#number, 'close', []);
  }
}
