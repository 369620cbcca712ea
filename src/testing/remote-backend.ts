import type { ChildProcess } from 'node:child_process';
import { SessionBackend, type WriteOutcome } from '../core/backend.js';
import type { SessionRecord } from '../core/record.js';

/** The methods of the contract, which are all that travels between the two processes. */
type Method = Exclude<keyof SessionBackend, 'forgetsByItself'>;

interface Call {
  call: number;
  method: Method;
  args: unknown[];
}

interface Reply {
  call: number;
  /** Absent where the method answered `undefined`. */
  value?: unknown;
  error?: string;
}

/**
 * Lets the process that forked this one use `backend` as if it were its own; the other end is `connectSessionBackend`.
 * With both, `openAgain` of `describeSessionBackend` puts each handle into a process of its own.
 *
 * @throws Error when this process was not forked with an IPC channel
 */
export function serveSessionBackend(backend: SessionBackend): void {
  if (!process.send) throw new Error('serveSessionBackend: start this process with child_process.fork');
  const answer = async ({ call, method, args }: Call): Promise<void> => {
    const reply: Reply = await (backend[method] as (...args: unknown[]) => Promise<unknown>)(...args).then(
      value => ({ call, value }),
      (error: unknown) => ({ call, error: error instanceof Error ? error.message : String(error) }),
    );
    if (process.connected) process.send?.(reply);
  };
  process.on('message', message => void answer(message as Call));
}

/** A backend that lives in a forked process, which calls `serveSessionBackend`. `close()` closes it there and ends the process. */
export function connectSessionBackend(child: ChildProcess): SessionBackend {
  return new RemoteBackend(child);
}

class RemoteBackend extends SessionBackend {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #calls = 0;
  #closing: Promise<void> | undefined;

  constructor(child: ChildProcess) {
    super();
    this.#child = child;
    child.on('message', message => this.#settle(message as Reply));
    child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`The process of the backend ended (${signal ?? code})`));
      this.#waiting.clear();
    });
  }

  create(record: SessionRecord): Promise<boolean> {
    return this.#call('create', record);
  }

  read(id: string): Promise<SessionRecord | undefined> {
    return this.#call('read', id);
  }

  update(record: SessionRecord, expectedVersion: number): Promise<WriteOutcome> {
    return this.#call('update', record, expectedVersion);
  }

  touch(id: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    return this.#call('touch', id, lastSeenAt, expiresAt);
  }

  replace(oldId: string, record: SessionRecord): Promise<WriteOutcome> {
    return this.#call('replace', oldId, record);
  }

  delete(id: string): Promise<boolean> {
    return this.#call('delete', id);
  }

  listByPrincipal(principal: string): Promise<SessionRecord[]> {
    return this.#call('listByPrincipal', principal);
  }

  deleteByPrincipal(principal: string, exceptId?: string): Promise<string[]> {
    return this.#call('deleteByPrincipal', principal, ...(exceptId === undefined ? [] : [exceptId]));
  }

  deleteExpired(now: number): Promise<number> {
    return this.#call('deleteExpired', now);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise(resolve => this.#child.once('exit', resolve));
    await this.#call('close').finally(() => this.#child.kill());
    await exited;
  }

  #call<T>(method: Method, ...args: unknown[]): Promise<T> {
    if (!this.#child.connected) return Promise.reject(new Error('The process of the backend has ended'));
    const call = ++this.#calls;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve: value => resolve(value as T), reject });
      this.#child.send({ call, method, args } satisfies Call, error => {
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
