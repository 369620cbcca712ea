/** The times of a feed, in milliseconds. They are not frozen, because tests shorten them. */
export const FEED_TIMES = {
  /** From one question to the next, while somebody wants to know. */
  beat: 300,
  /** After which another question is sent when the last one was answered, but nothing was heard of it. */
  again: 1_000,
  /** Without a sign of life, after which a connection counts as dead. */
  giveUp: 5_000,
  /** From one attempt to connect to the next. */
  retry: 1_000,
};
