import { createClient } from 'redis';
import { RedisBackend } from 'routing-controllers-sessions/redis';

const report = (error: unknown) => console.error(error);
