/** Runs with `NODE_ENV` set to something, and puts back what was there. */
export async function inEnvironment<R>(nodeEnv: string | undefined, run: () => R | Promise<R>): Promise<R> {
  const before = process.env['NODE_ENV'];
  set(nodeEnv);
  try {
    return await run();
  } finally {
    set(before);
  }
}

function set(nodeEnv: string | undefined): void {
  // Assigning undefined to it would make it the text 'undefined'.
  if (nodeEnv === undefined) delete process.env['NODE_ENV'];
  else process.env['NODE_ENV'] = nodeEnv;
}
