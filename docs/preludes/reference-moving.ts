import { createClient } from 'redis';
import { LmdbBackend } from 'routing-controllers-sessions/lmdb';
import { MovingBackend } from 'routing-controllers-sessions/moving';
import { RedisBackend } from 'routing-controllers-sessions/redis';

const path = '/var/lib/app/sessions';
const client = createClient();
