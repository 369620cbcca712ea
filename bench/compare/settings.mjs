// The settings of every peer. Times are seconds.
export const SECRET = 'a secret of the comparison, long enough for all of them';
export const IDLE_TIMEOUT = 60;
/** Only for peers that have such a limit. */
export const ABSOLUTE_TIMEOUT = 600;
