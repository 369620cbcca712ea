import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
