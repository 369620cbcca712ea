import type { PrivateServer } from './engines.js';
import { withClient } from './redis-cluster.js';

/** Returns what sends signals to a server's process, which lets it stop and go on without ending its connections. */
export async function processOf(server: PrivateServer): Promise<(signal: NodeJS.Signals) => void> {
  const info = await withClient(server, node => node.info('server'));
  const id = Number(/^process_id:(\d+)/m.exec(info)?.[1]);
  return signal => void process.kill(id, signal);
}
