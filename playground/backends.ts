import { InMemoryBackend, type SessionBackend } from 'routing-controllers-sessions';

type Open = (env: NodeJS.ProcessEnv) => SessionBackend | Promise<SessionBackend>;

/** What `SESSION_BACKEND` can name, and how each is opened. */
export const backends: Readonly<Record<string, Open>> = {
  memory: () => new InMemoryBackend(),
};
