import type { Store } from '../subject.js';

/** A request on a hot path, in one application. */
export interface Scenario {
  title: string;
  store: Store;
  method: string;
  path: string;
  /** The cookie that is sent: that of a session, the same with a wrong signature, or none. */
  cookie: 'signed' | 'spoilt' | 'none';
  status: number;
}

const refusal = { store: 'memory', method: 'GET', path: '/me', status: 403 } as const;

/** The hot paths. Each is also asked of the application without sessions, whose cost is subtracted. */
export const SCENARIOS = {
  read: { ...refusal, title: 'authenticated read', cookie: 'signed', status: 200 },
  anonymous: { ...refusal, title: 'anonymous, refused', cookie: 'none' },
  spoilt: { ...refusal, title: 'badly signed cookie, refused', cookie: 'spoilt' },
  update: { ...refusal, title: 'read-modify-write', method: 'POST', path: '/visit', cookie: 'signed', status: 200 },
  login: { ...refusal, title: 'log-in', method: 'POST', path: '/login', cookie: 'none', status: 200 },
  promises: {
    ...refusal,
    title: 'authenticated read, asynchronous backend',
    store: 'memory by promises',
    cookie: 'signed',
    status: 200,
  },
} as const satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof SCENARIOS;

export const NAMES = Object.keys(SCENARIOS) as ScenarioName[];
