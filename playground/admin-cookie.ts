import { SessionCookie } from 'routing-controllers-sessions';

import type { AdminSession } from './admin-session.js';

/** Names the second cookie service: that of the administrators. */
export class AdminCookie extends SessionCookie<AdminSession> {}
