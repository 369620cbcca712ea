// What every peer is set up with. Seconds.
export const SECRET = 'a secret of the comparison, long enough for all of them';
export const IDLE_TIMEOUT = 60;
/** Where a peer has such a limit. */
export const ABSOLUTE_TIMEOUT = 600;
