/** A value, or a promise of it. */
export type Eventual<T> = T | Promise<T>;

/**
 * Like `then`, but synchronous when the value is not a promise. Each promise that a request saves costs about as much as
 * looking up a session.
 */
export function after<A, B>(value: Eventual<A>, next: (value: A) => Eventual<B>): Eventual<B> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Like `catch`, but synchronous when nothing has to be waited for. */
export function rescue<A>(run: () => Eventual<A>, recover: (error: unknown) => Eventual<A>): Eventual<A> {
  try {
    const value = run();
    return value instanceof Promise ? value.catch(recover) : value;
  } catch (error) {
    return recover(error);
  }
}

/** Like `finally`, but synchronous when nothing has to be waited for. */
export function lastly<A>(run: () => Eventual<A>, end: () => void): Eventual<A> {
  let isPending = false;
  try {
    const value = run();
    isPending = value instanceof Promise;
    return value instanceof Promise ? value.finally(end) : value;
  } finally {
    if (!isPending) end();
  }
}

/** Returns a promise of what a call returns or throws. An async function would make another one of a promise. */
export function promised<A>(call: () => Eventual<A>): Promise<A> {
  try {
    const value = call();
    return value instanceof Promise ? value : Promise.resolve(value);
  } catch (error) {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- handed on as it is
    return Promise.reject(error);
  }
}

/** Returns whether a value is a promise of any library. */
export function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function';
}
