/** Seconds. Shorter than the library's defaults, so that the page can show them run down. */
export const limits = {
  idleTimeout: 15 * 60,
  absoluteTimeout: 8 * 60 * 60,
  adminIdleTimeout: 5 * 60,
  /** The age at which a log-in is too old for the vault. */
  maxAuthAge: 30,
} as const;
