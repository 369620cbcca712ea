import type { createClient } from 'redis';

/** The recipe of docs/backends/redis.md; test/backends/redis-primary.test.ts compares them. */

type Followed = Pick<ReturnType<typeof createClient>, 'isReady' | 'destroy'> & {
  role(): Promise<unknown>;
  connect(): Promise<unknown>;
};

export function followPrimary(client: Followed): void {
  const look = async (): Promise<void> => {
    if (!client.isReady) return;
    const { role } = (await client.role()) as { role: string };
    if (role === 'master') return;
    client.destroy();
    await client.connect();
  };
  setInterval(() => void look().catch((error: unknown) => console.error(error)), 1_000).unref();
}
