import { fork } from 'node:child_process';
import { mkdtempSync } from 'node:fs';

import { describeSessionBackend, openInProcess, serveSessionBackends } from 'routing-controllers-sessions/testing';

/** Whoever writes a backend has these. */
declare const MyBackend: new (options: { folder?: string; path?: string }) => SessionBackend;
declare const open: () => SessionBackend;
declare const pathOf: (backend: SessionBackend) => string;
