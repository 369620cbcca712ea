import autocannon from 'autocannon';

/** Enough that the server always has something to do. */
export const CONNECTIONS = 50;

export interface Route {
  method: 'GET' | 'POST';
  path: string;
}

export interface LoadResult {
  requests: number;
  /** Of the requests, those that were not answered with 2xx. */
  failed: number;
  seconds: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
}

interface LoadOptions {
  /** For this long (seconds), or this many requests. */
  duration?: number;
  amount?: number;
  /** Cookie headers; each connection has its share of them, so that no two send the same one at once. */
  cookies?: readonly string[];
  /** {@link CONNECTIONS} by default. */
  connections?: number;
}

/** Sends one kind of request over some connections of 127.0.0.1, one after the other on each. */
export async function load(url: string, { method, path }: Route, options: LoadOptions): Promise<LoadResult> {
  const { duration, amount, cookies = [], connections = CONNECTIONS } = options;
  const times: number[] = [];
  let nextConnection = 0;
  const started = process.hrtime.bigint();
  let ended = started;
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon(
      {
        url,
        connections,
        method,
        sampleInt: 50,
        ...(amount === undefined ? { duration: duration ?? 1 } : { amount }),
        requests: [{ method, path }],
        setupClient: client => {
          const connection = nextConnection++;
          const own = cookies.filter((_, index) => index % connections === connection);
          if (own.length > 0) client.setRequests(own.map(cookie => ({ method, path, headers: { cookie } })));
        },
      },
      (error: Error | null, done) => {
        if (error) reject(error);
        else resolve(done);
      },
    );
    run.on('response', (_client, _status, _bytes, time) => {
      times.push(time);
      ended = process.hrtime.bigint();
    });
  });
  if (result.errors > 0) throw new Error(`${result.errors} of the requests to ${path} were not answered`);
  times.sort((a, b) => a - b);
  return {
    requests: times.length,
    failed: result.non2xx,
    seconds: Number(ended - started) / 1e9,
    p50: times[Math.floor(times.length * 0.5)] ?? NaN,
    p99: times[Math.floor(times.length * 0.99)] ?? NaN,
  };
}

/** The Cookie header that answers a response's Set-Cookie headers. */
export function cookieOf(response: Response): string {
  return response.headers
    .getSetCookie()
    .map(cookie => cookie.split(';', 1)[0])
    .join('; ');
}

/** Logs in so many times and answers the Cookie headers. */
export async function logIn(url: string, count: number): Promise<string[]> {
  const cookies: string[] = [];
  const worker = async () => {
    while (cookies.length < count) {
      const response = await fetch(`${url}/login`, { method: 'POST' });
      await response.arrayBuffer();
      cookies.push(cookieOf(response));
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
  return cookies.slice(0, count);
}

/** How far from its end a header is changed: inside the signature or the seal, for everything that is measured here. */
const SPOILT_AT = 12;

/** The same header with a signature that does not fit. */
export function spoil(cookie: string): string {
  let at = cookie.length - SPOILT_AT;
  // Not in a percent-escape.
  while (!/^[A-Za-z0-9]$/.test(cookie[at] ?? '') || cookie.slice(at - 2, at).includes('%')) at--;
  return cookie.slice(0, at) + (cookie[at] === 'A' ? 'B' : 'A') + cookie.slice(at + 1);
}
