/** A value, or a promise of it where it has to be waited for. */
export type Eventual<T> = T | Promise<T>;

/**
 * Goes on with a value when it is there: at once if it is, so that a request that waits for nothing makes no promise. Each
 * would cost it about as much as looking up a session does.
 */
export function after<A, B>(value: Eventual<A>, next: (value: A) => Eventual<B>): Eventual<B> {
  return value instanceof Promise ? value.then(next) : next(value);
}
