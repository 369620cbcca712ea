/** The store of express-session, which is the same package that an application would move away from. */
interface OldStore {
  get(id: string, answer: (error: unknown, session?: { username?: string } | null) => void): void;
  set(id: string, session: object): void;
  destroy(id: string): void;
}
const { MemoryStore } = require('express-session') as { MemoryStore: new () => OldStore };

const OLD_SECRET = 'the secret of express-session, as long as before';
const oldStore = new MemoryStore();
