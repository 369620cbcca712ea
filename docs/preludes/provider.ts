/** Stands for the application's OpenID client. */
const provider = {
  async redeem(code: string): Promise<{ sub: string; sid: string }> {
    const [sub = '', sid = ''] = code.split('.');
    return { sub, sid };
  },
  async verify(token: string): Promise<Record<string, unknown>> {
    const [claims = '', signature] = token.split('#');
    if (signature !== 'signed') throw new Error('signature verification failed');
    return JSON.parse(claims);
  },
};
