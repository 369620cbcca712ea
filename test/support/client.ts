import supertest, { type Test } from 'supertest';
import { CookieJar } from 'tough-cookie';

type Method = 'get' | 'head' | 'post' | 'put' | 'patch' | 'delete' | 'options';

/** A browser's part: sends what its cookie jar holds for the address, and keeps what answers set. */
export class Client {
  readonly jar = new CookieJar();

  /** @param cookies as in a Cookie header */
  constructor(
    readonly url: string,
    cookies = '',
  ) {
    // Of a cookie under two names, the one that plain HTTP to this machine has.
    for (const cookie of cookies.split('; '))
      if (!/^(__(Host|Secure)-|$)/.test(cookie)) this.jar.setCookieSync(cookie, url);
  }

  get(path: string): Test {
    return this.send('get', path);
  }

  post(path: string): Test {
    return this.send('post', path);
  }

  send(method: Method, path: string): Test {
    const url = this.url + path;
    const test = supertest(this.url)[method](path);
    const cookies = this.jar.getCookieStringSync(url);
    if (cookies !== '') void test.set('Cookie', cookies);
    return test.on('response', ({ headers }: { headers: Record<string, string[] | undefined> }) => {
      for (const cookie of headers['set-cookie'] ?? []) this.jar.setCookieSync(cookie, url);
    });
  }

  /** The value of a cookie in the jar. */
  cookie(name = 'session'): string | undefined {
    return this.jar.getCookiesSync(this.url).find(({ key }) => key === name)?.value;
  }
}
