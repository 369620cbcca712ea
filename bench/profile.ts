/** The data of every session: about 300 bytes of JSON. */
export interface Profile {
  username: string;
  displayName: string;
  email: string;
  roles: string[];
  locale: string;
  theme: string;
  note: string;
  visits: number;
}

/** The secret of every server. */
export const SECRET = 'a benchmark secret of 32 bytes or more';

/** The lifetime of every session, in seconds. */
export const LIFETIME = 14 * 86_400;

let users = 0;

/** The profile of a new user. */
export function nextProfile(): Profile {
  const username = `user-${String(users++).padStart(7, '0')}`;
  return {
    username,
    displayName: 'Augusta Ada King, Countess of Lovelace',
    email: `${username}@users.example.com`,
    roles: ['reader', 'writer', 'moderator'],
    locale: 'en-GB',
    theme: 'dark',
    note: 'The Analytical Engine weaves algebraical patterns just as the Jacquard loom weaves flowers.',
    visits: 0,
  };
}

/** The answer to an authenticated read. */
export interface Me {
  username: string;
  visits: number;
}

export function meOf({ username, visits }: Profile): Me {
  return { username, visits };
}

/** The milliseconds between the read and the write of the slow read-modify-write, like a query. */
const SLOW = 5;

export function somethingSlow(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, SLOW));
}
