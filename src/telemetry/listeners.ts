import type { SessionChannel, SessionMessages } from '../session/diagnostics.js';

/** What turns messages into signals: a function for each channel that it listens to. */
export type Listeners = { readonly [C in SessionChannel]?: (message: SessionMessages[C]) => void };
