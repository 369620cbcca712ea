import { openBackend } from './open-backend.js';
import { putUnderLoad } from './kill-load.js';

/** Told by its parent: the engine, and where it is. Works until it is killed. */
const [engine = '', address = ''] = process.argv.slice(2);

// The parent knows of a step before it is begun: what it was not told of did not happen.
const tell = (event: object): Promise<void> =>
  new Promise((resolve, reject) => process.send?.(event, (error: Error | null) => (error ? reject(error) : resolve())));

void openBackend(engine, address).then(backend => putUnderLoad(backend, tell, () => false));
