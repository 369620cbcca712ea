import { COST, hashPassword, verifyPassword } from './password.js';

/** Stands for the application's table of users. */
export class Accounts {
  readonly #hashes = new Map<string, string>();
  readonly #nobody: Promise<string>;

  constructor(private readonly cost = COST) {
    this.#nobody = hashPassword('', cost);
  }

  /** @returns false if the name is taken */
  async add(username: string, password: string): Promise<boolean> {
    const hash = await hashPassword(password, this.cost);
    if (this.#hashes.has(username)) return false;
    this.#hashes.set(username, hash);
    return true;
  }

  async setPassword(username: string, password: string): Promise<void> {
    this.#hashes.set(username, await hashPassword(password, this.cost));
  }

  /** Takes the same time for a name that nobody has, because the time would tell which names exist. */
  async verify(username: string, password: string): Promise<boolean> {
    const hash = this.#hashes.get(username);
    return (await verifyPassword(password, hash ?? (await this.#nobody))) && hash !== undefined;
  }
}
