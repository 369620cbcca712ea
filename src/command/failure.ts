/** The meaning of the command's exit codes. */
export const EXIT = Object.freeze({
  done: 0,
  /** The answer is no: something is wrong with the store, the session was not there, or the question was not answered with yes. */
  no: 1,
  /** Wrong usage; nothing was done. */
  usage: 2,
  /** The store could not be used. */
  failure: 3,
});

/** An end of the command that is not its success. The message says what to do, and has no secret in it. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly exitCode: number = EXIT.failure,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function wrongUsage(message: string): Failure {
  return new Failure(message, EXIT.usage);
}
