export { type OpenApiDocument, withSessionSecurity } from './with-session-security.js';
