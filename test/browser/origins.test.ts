import 'reflect-metadata';

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Browser, Page } from 'playwright-core';

import { describeInBrowser, launch } from './chromium.js';
import { end, listen, openPlayground, type OpenPlayground } from './open-playground.js';

/** A certificate for localhost, made for one test. */
function makeCertificate(): { key: Buffer; cert: Buffer } {
  const folder = mkdtempSync(path.join(tmpdir(), 'certificate-'));
  const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
  try {
    const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    execFileSync('openssl', ['req', '-x509', ...options, ...subject, '-keyout', key, '-out', cert], { stdio: 'pipe' });
    return { key: readFileSync(key), cert: readFileSync(cert) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** As a script of the page would, to an origin that lets it send, and not read. */
async function sendByScript(page: Page, method: string, url: string): Promise<void> {
  await page.evaluate(
    ([verb, target]) =>
      fetch(target!, { method: verb!, mode: 'no-cors', credentials: 'include' }).then(
        () => undefined,
        // The answer is kept from the page; the request was sent all the same.
        () => undefined,
      ),
    [method, url],
  );
}

describeInBrowser('a browser', () => {
  let browser: Browser;
  let playground: OpenPlayground;

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser.close());
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
    await playground.close();
  });

  async function logIn(page: Page): Promise<void> {
    await page.goto(playground.url);
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await page.locator('#log-in-result', { hasText: 'You now have a session' }).waitFor();
  }

  test('keeps the cookie under __Host-, Secure and HttpOnly, over HTTPS', async () => {
    playground = await openPlayground(makeCertificate());
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    await logIn(page);
    const [cookie, ...others] = await context.cookies();
    expect(others).toEqual([]);
    expect(cookie).toMatchObject({
      name: '__Host-session',
      domain: 'localhost',
      path: '/',
      secure: true,
      httpOnly: true,
      sameSite: 'Lax',
    });
    const eightHours = Date.now() / 1000 + 8 * 3600;
    expect(Math.abs(cookie!.expires - eightHours)).toBeLessThan(60);
    expect(await page.evaluate('document.cookie')).toBe('');

    await page.evaluate("document.cookie = '__Host-session=planted; Path=/; Secure; Domain=localhost'");
    expect(await context.cookies()).toEqual([cookie]);

    await page.locator('#leave').click();
    await page.locator('#log-out-result', { hasText: 'no longer' }).waitFor();
    expect(await context.cookies()).toEqual([]);
  });

  describe('on a page of another site', () => {
    let site: Server;
    let siteUrl: string;
    let page: Page;

    /** What the playground got for a path, the last time. */
    const received = (url: string) => playground.requests.findLast(request => request.url === url);

    beforeEach(async () => {
      playground = await openPlayground();
      site = createServer((_request, response) => {
        response.setHeader('Content-Type', 'text/html');
        response.end(`
          <a href="${playground.url}/secure">link</a>
          <form method="post" action="${playground.url}/leave_session"><button id="leave">leave</button></form>
          <form method="post" action="${playground.url}/get_session?username=mallory"><button id="log-in">log in</button></form>
        `);
      });
      // localhost and 127.0.0.1 are two sites, whatever they lead to.
      siteUrl = `http://localhost:${await listen(site)}`;
      const context = await browser.newContext();
      page = await context.newPage();
      await logIn(page);
      await page.goto(siteUrl);
    });
    afterEach(async () => {
      await end(site);
    });

    test('sends the cookie with a link that is followed', async () => {
      await page.getByText('link').click();
      await page.getByText('You are secure').waitFor();
      expect(received('/secure')?.headers).toMatchObject({ 'sec-fetch-site': 'cross-site' });
      expect(received('/secure')?.headers.cookie).toMatch(/^session=/);
    });

    test('keeps the cookie back from a form, which is refused besides', async () => {
      await page.locator('#leave').click();
      await page.getByText('ERR_SESSION_CROSS_ORIGIN').waitFor();
      expect(received('/leave_session')?.headers).toMatchObject({ origin: siteUrl, 'sec-fetch-site': 'cross-site' });
      expect(received('/leave_session')?.headers.cookie).toBeUndefined();
      await page.goto(`${playground.url}/secure`);
      await page.getByText('You are secure').waitFor();
    });

    test("is not logged in as somebody else by that page's form", async () => {
      const before = await page.context().cookies(playground.url);
      await page.locator('#log-in').click();
      await page.getByText('ERR_SESSION_CROSS_ORIGIN').waitFor();
      expect(await page.context().cookies(playground.url)).toEqual(before);
    });

    test('keeps the cookie back from requests of scripts', async () => {
      await sendByScript(page, 'GET', `${playground.url}/secure`);
      expect(received('/secure')?.headers.cookie).toBeUndefined();
    });
  });

  describe('on a page of another origin of the same site', () => {
    test('sends the cookie with requests of scripts too, and those that change something are refused', async () => {
      playground = await openPlayground();
      const site = createServer((_request, response) => response.end('<p>'));
      const origin = `http://127.0.0.1:${await listen(site)}`;
      const context = await browser.newContext();
      const page = await context.newPage();
      await logIn(page);
      await page.goto(origin);
      await sendByScript(page, 'POST', `${playground.url}/leave_session`);
      expect(playground.requests.at(-1)?.headers).toMatchObject({ origin, 'sec-fetch-site': 'same-site' });
      expect(playground.requests.at(-1)?.headers.cookie).toMatch(/^session=/);
      await page.goto(`${playground.url}/secure`);
      await page.getByText('You are secure').waitFor();
      await end(site);
    });
  });
});
