import 'reflect-metadata';

import { readFileSync } from 'node:fs';
import path from 'node:path';

import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';

import { describeInBrowser, launch } from './chromium.js';
import { openPlayground, type OpenPlayground } from './open-playground.js';

const SCREENSHOTS = path.resolve(__dirname, '../../build/screenshots');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 900 } };
const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';


describeInBrowser("the playground's page", () => {
  let browser: Browser;
  let playground: OpenPlayground;
  const contexts: BrowserContext[] = [];

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser.close());

  beforeEach(async () => {
    playground = await openPlayground();
  });
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close();
    await playground.close();
  });

  /** A browser of its own, with its own cookies. */
  async function newBrowser(options: BrowserContextOptions = DESKTOP): Promise<BrowserContext> {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(10_000);
    contexts.push(context);
    return context;
  }

  async function open(context?: BrowserContext): Promise<Page> {
    const page = await (context ?? (await newBrowser())).newPage();
    await page.goto(playground.url);
    await page.getByText('Nothing sent yet').first().waitFor();
    return page;
  }

  async function logIn(page: Page, name = 'ada'): Promise<void> {
    await page.getByLabel('Name').fill(name);
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await says(page, 'log-in', `You now have a session, ${name}.`);
  }

  /** Waits until a step says something. */
  async function says(page: Page, step: string, text: string): Promise<void> {
    await page.locator(`#${step}-result`, { hasText: text }).waitFor();
  }

  const wire = (page: Page, step: string) => page.locator(`[data-wire="${step}"]`);
  const click = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).first().click();
  const bar = (page: Page, text: string) => page.locator('#bar', { hasText: text }).waitFor();

  test('shows a log-in with its cookie, all but the secret, and the source that answered', async () => {
    const context = await newBrowser();
    const page = await open(context);
    await bar(page, 'No session');
    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'Refused: Not authenticated.');
    await wire(page, 'log-in').getByText('403').waitFor();

    await logIn(page);
    await bar(page, 'ada');
    const shown = await wire(page, 'log-in').innerText();
    expect(shown).toContain('POST /get_session?username=ada');
    expect(shown).toContain('Set-Cookie: session=(hidden); Path=/; HttpOnly; SameSite=Lax; Max-Age=28800');
    expect(shown).toContain('"message": "You now have a session"');
    expect(shown).toMatch(/playground\/auth-controller\.ts:\d+\n+@Post\('\/get_session'\)\n+@RequireSession/);

    const [cookie, ...others] = await context.cookies();
    expect(others).toEqual([]);
    expect(cookie).toMatchObject({ name: 'session', path: '/', httpOnly: true, secure: false, sameSite: 'Lax' });
    expect(cookie!.domain).toBe('127.0.0.1');
    expect(await page.evaluate('document.cookie')).toBe('');
    expect(await page.content()).not.toContain(cookie!.value);

    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'You are secure.');
    await page.screenshot({ path: path.join(SCREENSHOTS, 'log-in.png') });
  });

  test('shows the id change when it rotates, and the old cookie dead', async () => {
    const context = await newBrowser();
    const page = await open(context);
    await logIn(page);
    const [before] = await context.cookies();
    const oldId = await page.locator('#session-panel .id').innerText();
    await click(page, 'Rotate');
    await says(page, 'session', 'New id, new cookie, same session.');
    await page.locator('#session-panel .id.old', { hasText: oldId }).waitFor();
    expect(await page.locator('#session-panel .id').first().innerText()).not.toBe(oldId);
    expect((await wire(page, 'session').innerText()).match(/Set-Cookie: session=\(hidden\)/g)).toHaveLength(1);

    const replay = await fetch(`${playground.url}/secure`, { headers: { cookie: `session=${before!.value}` } });
    expect(replay.status).toBe(403);
    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'You are secure.');
  });

  test('counts both clocks down, and notices when the session expires', async () => {
    const context = await newBrowser();
    const page = await context.newPage();
    await page.clock.install();
    await page.goto(playground.url);
    await logIn(page);
    await page.locator('#clocks').waitFor();
    await page.clock.runFor(61_000);
    expect(await page.locator('#idle-clock').innerText()).toMatch(/^1(3:5\d|4:00)$/);
    expect(await page.locator('#absolute-clock').innerText()).toMatch(/^7:5(8:5\d|9:00)$/);

    playground.pass(15 * 60);
    // One jump, after which time stands still: the notice goes away by itself, and must not before it was seen.
    await page.clock.pauseAt(Date.now() + 17 * 60_000);
    await bar(page, 'No session');
    await page.locator('#notice', { hasText: 'expired' }).waitFor();
  });

  test('sends twenty requests at once, twice, and loses none', async () => {
    const page = await open();
    await logIn(page);
    await click(page, 'Send twenty');
    await says(page, 'apples', '0 before, 20 after: none was lost.');
    await click(page, 'Send twenty');
    await says(page, 'apples', '20 before, 40 after: none was lost.');
    expect(await page.locator('#volley li.good').count()).toBe(20);
    expect(playground.requests.filter(({ url }) => url === '/apples')).toHaveLength(40);
    expect(await wire(page, 'apples').innerText()).toContain('20 requests at once: 20 went through.');
    await page.locator('#apples').screenshot({ path: path.join(SCREENSHOTS, 'apples.png') });
  });

  test('shows another browser come and go, and ends it from here', async () => {
    const page = await open();
    await logIn(page);
    await page.locator('#live[data-state=on]').waitFor();
    await page.locator('#device-list li').first().waitFor();

    const elsewhere = await open(await newBrowser({ ...DESKTOP, userAgent: FIREFOX }));
    await logIn(elsewhere);
    const firefox = page.locator('#device-list li', { hasText: 'Firefox on Linux' });
    await firefox.waitFor();
    expect(await page.locator('#device-list li').count()).toBe(2);
    expect(await page.locator('#device-list .badge').count()).toBe(1);
    await page.locator('#devices').screenshot({ path: path.join(SCREENSHOTS, 'devices.png') });

    await click(elsewhere, 'Log out');
    await firefox.waitFor({ state: 'detached' });

    await logIn(elsewhere);
    await firefox.getByRole('button', { name: 'End the session' }).click();
    await bar(elsewhere, 'No session');
    await elsewhere.locator('#notice', { hasText: 'ended from another device' }).waitFor();
    await firefox.waitFor({ state: 'detached' });
    await says(page, 'devices', 'That session is over');

    await logIn(elsewhere);
    const third = await open(await newBrowser());
    await logIn(third);
    await page.locator('#device-list li').nth(2).waitFor();
    await click(page, 'End all others');
    await says(page, 'devices', '2 ended. Only this browser is left.');
    await bar(elsewhere, 'No session');
    await bar(third, 'No session');
    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'You are secure.');
  });

  test("does not show another user's sessions", async () => {
    const page = await open();
    await logIn(page);
    const elsewhere = await open(await newBrowser({ ...DESKTOP, userAgent: FIREFOX }));
    await logIn(elsewhere, 'bob');
    await elsewhere.locator('#device-list .badge').waitFor();
    expect(await elsewhere.locator('#device-list li').count()).toBe(1);
    expect(await page.locator('#device-list li').count()).toBe(1);
  });

  test('wants the log-in renewed when it is too old for the vault', async () => {
    const page = await open();
    await logIn(page);
    await click(page, 'Send twenty');
    await says(page, 'apples', 'none was lost');
    await click(page, 'Open the vault');
    await says(page, 'vault', 'The vault is open, ada.');

    playground.pass(31);
    await click(page, 'Open the vault');
    await says(page, 'vault', 'you logged in too long ago');
    expect(await wire(page, 'vault').innerText()).toContain('ERR_SESSION_NOT_FRESH');
    await page.locator('#fresh[data-state=stale]').waitFor();
    await page.locator('#vault').screenshot({ path: path.join(SCREENSHOTS, 'vault.png') });

    await click(page, 'Confirm that it is you');
    await says(page, 'vault', 'It is you.');
    await page.locator('#fresh[data-state=fresh]').waitFor();
    await click(page, 'Open the vault');
    await says(page, 'vault', 'The vault is open, ada.');
    expect(await page.locator('#apples-count').innerText()).toBe('20');
    expect(await page.locator('#device-list li').count()).toBe(1);
  });

  test("refuses the other origin's form, although the cookie comes with it, and says why", async () => {
    const page = await open();
    await logIn(page);
    await page.locator('#live[data-state=on]').waitFor();
    await page.frameLocator('#frame iframe').getByRole('button').click();
    await says(page, 'other', 'Refused');
    const shown = await wire(page, 'other').innerText();
    expect(shown).toContain(`Origin: http://127.0.0.1:${playground.otherPort}`);
    expect(shown).toContain('Sec-Fetch-Site: same-site');
    expect(shown).toContain('Cookie: session=(hidden)');
    expect(shown).toContain('ERR_SESSION_CROSS_ORIGIN');
    const sent = playground.requests.find(({ url }) => url === '/apples');
    expect(sent?.headers.cookie).toMatch(/^session=/);
    await click(page, 'Read it again');
    await says(page, 'session', 'Reading it counts');
    expect(await page.locator('#apples-count').innerText()).toBe('0');
    await page.locator('#other').screenshot({ path: path.join(SCREENSHOTS, 'other-origin.png') });
  });

  test('shows a log-out in another tab of the same browser, and a log-in there', async () => {
    const context = await newBrowser();
    const page = await open(context);
    const tab = await open(context);
    await logIn(page);
    await bar(tab, 'ada');
    await tab.locator('#live[data-state=on]').waitFor();

    await page.locator('#leave').click();
    await says(page, 'log-out', 'You no longer have a session.');
    expect(await wire(page, 'log-out').innerText()).toContain(
      'Set-Cookie: session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0',
    );
    expect(await context.cookies()).toEqual([]);
    await bar(tab, 'No session');
    await tab.locator('#device-list .empty').waitFor();

    await logIn(tab, 'bob');
    await bar(page, 'bob');
  });

  test('follows a log-in in another tab that takes its session’s place', async () => {
    const context = await newBrowser();
    const page = await open(context);
    const tab = await open(context);
    await logIn(page);
    await bar(tab, 'ada');
    await logIn(page, 'bob');
    await bar(tab, 'bob');
    await tab.locator('#live[data-state=on]').waitFor();
  });

  test('tells refusals apart from a server that is gone', async () => {
    const page = await open();
    await logIn(page);
    await page.context().setOffline(true);
    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'No answer. Is the server still running?');
    await bar(page, 'ada');
    await page.context().setOffline(false);
    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'You are secure.');
  });

  test('keeps to its own origin and its policy', async () => {
    const context = await newBrowser();
    const page = await context.newPage();
    const violations: string[] = [];
    const foreign: string[] = [];
    page.on('console', message => {
      if (message.text().includes('Content Security Policy')) violations.push(message.text());
    });
    page.on('request', request => {
      const { port, hostname } = new URL(request.url());
      if (hostname !== '127.0.0.1' || ![playground.port, playground.otherPort].includes(Number(port)))
        foreign.push(request.url());
    });
    for (const url of ['/', '/docs']) {
      await page.goto(playground.url + url);
      await page.waitForLoadState('load');
    }
    await page.locator('.opblock').first().waitFor();
    await page.goto(playground.url);
    await logIn(page);
    await click(page, 'Send twenty');
    await says(page, 'apples', 'none was lost');
    expect(violations).toEqual([]);
    expect(foreign).toEqual([]);
    await page.addScriptTag({ content: 'window.planted = true' }).catch(() => undefined);
    expect(await page.evaluate('window.planted')).toBeUndefined();
    expect(violations).toHaveLength(1);
  });

  test('is used by keyboard alone', async () => {
    const page = await open();
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the first step');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.id')).toBe('username');
    await page.keyboard.press('ControlOrMeta+A');
    await page.keyboard.type('grace');
    await page.keyboard.press('Enter');
    await says(page, 'log-in', 'You now have a session, grace.');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.id')).toBe('ask-secure');
    await page.keyboard.press('Enter');
    await says(page, 'log-in', 'You are secure.');
    await page.getByRole('button', { name: 'Log out' }).first().focus();
    await page.keyboard.press('Enter');
    await bar(page, 'No session');
    await page.waitForFunction("document.activeElement.id === 'username'");
  });

  describe.each([
    ['light', { ...DESKTOP, colorScheme: 'light' }],
    ['dark', { ...DESKTOP, colorScheme: 'dark' }],
    ['phone', { ...PHONE, colorScheme: 'light' }],
    ['phone-dark', { ...PHONE, colorScheme: 'dark' }],
  ] as const)('in %s', (name, options) => {
    test('fits its width, and has nothing that axe objects to, without a session and with one', async () => {
      const page = await open(await newBrowser({ ...options, reducedMotion: 'reduce' }));
      for (const state of ['without', 'with'] as const) {
        if (state === 'with') {
          await logIn(page);
          await click(page, 'Rotate');
          await says(page, 'session', 'New id');
          await click(page, 'Send twenty');
          await says(page, 'apples', 'none was lost');
          await page.frameLocator('#frame iframe').getByRole('button').click();
          await says(page, 'other', 'Refused');
        }
        const overflow = await page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        );
        expect([state, overflow]).toEqual([state, 0]);
        await page.evaluate(axe);
        const violations = await page.evaluate(
          'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))',
        );
        expect([state, violations]).toEqual([state, []]);
        await page.evaluate('scrollTo(0, 0)');
        await page.screenshot({ path: path.join(SCREENSHOTS, `${name}-${state}-session.png`), fullPage: true });
      }
    });
  });

  test('has buttons that a finger can hit', async () => {
    const page = await open(await newBrowser(PHONE));
    await logIn(page);
    await page.locator('#device-list li button').waitFor();
    for (const button of await page.getByRole('button').all()) {
      const box = await button.boundingBox();
      if (box) expect([await button.innerText(), box.height >= 40]).toEqual([await button.innerText(), true]);
    }
  });

  test('shares its cookie with Swagger UI, which marks the guarded routes', async () => {
    const context = await newBrowser();
    await logIn(await open(context));
    const docs = await context.newPage();
    await docs.goto(`${playground.url}/docs`);
    const secure = docs.locator('.opblock', { has: docs.locator('[data-path="/secure"]') });
    await secure.locator('.authorization__btn').waitFor();
    await secure.locator('.opblock-summary-control').click();
    await secure.locator('.try-out__btn').click();
    await secure.locator('.execute').click();
    await secure.locator('.live-responses-table', { hasText: 'You are secure' }).waitFor();
    await docs.screenshot({ path: path.join(SCREENSHOTS, 'docs.png'), fullPage: true });
  });
});
