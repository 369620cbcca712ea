import type { RedisNodeClient } from './client.js';

/** The most reads under way that are sent without the client's own deadline. */
const MOST = 1_000;

/** A client of `createClient`, which makes others of itself with other options for their commands. */
interface Optional extends RedisNodeClient {
  readonly isReady: boolean;
  withCommandOptions(options: { timeout: undefined }): RedisNodeClient;
}

/**
 * Returns a client's GET without the deadline by which it gives up a command that it has not sent. That is a timer and an
 * `AbortSignal` for each command, which cost as much as the command, and the session's own deadline is there already.
 *
 * The client's deadline empties its queue while there is no connection, or when the server takes no more: so it stays where the
 * client is not ready, and where many reads wait.
 */
export function quickGet(client: RedisNodeClient): (key: string) => Promise<unknown> {
  const get = (key: string): Promise<unknown> => client.get(key);
  if (!('isPubSubActive' in client && 'withCommandOptions' in client)) return get;
  const own = client as unknown as Optional;
  const quick = own.withCommandOptions({ timeout: undefined });
  let waiting = 0;
  const answered = (): void => {
    waiting--;
  };
  return key => {
    if (waiting >= MOST || !own.isReady) return get(key);
    waiting++;
    // The client's own method, which somebody may have wrapped.
    const answer = own.get.call(quick, key);
    answer.then(answered, answered);
    return answer;
  };
}
