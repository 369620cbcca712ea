/** What is stored with a user for the codes. Encrypt the secret, with a key that is not in the database. */
export interface Otp {
  /** In base32. */
  readonly secret: string;
  /** Whether a right code has shown that the user's device has the secret. */
  readonly isConfirmed: boolean;
  /** The time step of the last code that was accepted. */
  readonly lastStep: number;
  /** Wrong codes since the last right one. */
  readonly failures: number;
  /** Epoch milliseconds. No code is checked before. */
  readonly pausedUntil: number;
}

/** Stands for columns of the application's table of users. */
export class OtpTable {
  readonly #rows = new Map<string, Otp>();

  read(username: string): Promise<Otp | undefined> {
    return Promise.resolve(this.#rows.get(username));
  }

  /**
   * Stores `after` if the row is still the `before` that was read. In SQL: a column `version`, and
   * `UPDATE … SET version = version + 1 … WHERE username = $1 AND version = $2`, which changes one row or none.
   *
   * @returns false if another request was faster, and nothing was stored
   */
  replace(username: string, before: Otp | undefined, after: Otp): Promise<boolean> {
    const isUnchanged = this.#rows.get(username) === before;
    if (isUnchanged) this.#rows.set(username, after);
    return Promise.resolve(isUnchanged);
  }

  delete(username: string): Promise<void> {
    this.#rows.delete(username);
    return Promise.resolve();
  }
}
