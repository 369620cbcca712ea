export { instrumentSessions, type InstrumentSessionsOptions } from './instrument-sessions.js';
