import { SessionBackend } from 'routing-controllers-sessions';

/** Whoever writes a backend has one. */
declare const MyBackend: new (options: { folder: string }) => SessionBackend;
