import { randomBytes } from 'node:crypto';

import { createApp } from './app.js';

const { PORT = '3000', OIDC_ISSUER: issuer, OIDC_CLIENT_ID: clientId, OIDC_CLIENT_SECRET: clientSecret } = process.env;
if (issuer === undefined || clientId === undefined || clientSecret === undefined) {
  throw new Error('Set OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET to what the provider gave you');
}
const origin = process.env['ORIGIN'] ?? `http://localhost:${PORT}`;
createApp(randomBytes(32).toString('base64url'), {
  issuer,
  clientId,
  clientSecret,
  redirectUri: `${origin}/callback`,
}).listen(Number(PORT), () => {
  console.log(`${origin}/login`);
});
