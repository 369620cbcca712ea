import 'reflect-metadata';

import { readFileSync } from 'node:fs';

import type { Page } from 'playwright-core';

import { describeInBrowser } from './chromium.js';
import {
  bar,
  click,
  DESKTOP,
  FIREFOX,
  focused,
  live,
  logIn,
  PHONE,
  picture,
  says,
  usePlayground,
  wire,
} from './use-playground.js';

const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

describeInBrowser("the playground's page", () => {
  const kit = usePlayground();
  const { newBrowser, open } = kit;

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
    expect(shown).toContain('(secret).(mac); Path=/; HttpOnly; SameSite=Lax; Max-Age=28800');
    expect(shown).toContain('"message": "You now have a session"');
    expect(shown).toMatch(/playground\/auth-controller\.ts:\d+\n+@Post\('\/get_session'\)\n+@RequireSession/);

    const [cookie, ...others] = await context.cookies();
    expect(others).toEqual([]);
    expect(cookie).toMatchObject({ name: 'session', path: '/', httpOnly: true, secure: false, sameSite: 'Lax' });
    expect(cookie!.domain).toBe('127.0.0.1');
    expect(await page.evaluate('document.cookie')).toBe('');
    const [, secret] = cookie!.value.split('.');
    expect(await page.content()).not.toContain(secret);

    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'You are secure.');
  });

  test('counts both clocks down, and notices when the session expires', async () => {
    const context = await newBrowser();
    const page = await context.newPage();
    await page.clock.install();
    await page.goto(kit.playground.url);
    await logIn(page);
    await page.locator('#clocks').waitFor();
    await page.clock.runFor(61_000);
    expect(await page.locator('#idle-clock').innerText()).toMatch(/^1(3:5\d|4:00)$/);
    expect(await page.locator('#absolute-clock').innerText()).toMatch(/^7:5(8:5\d|9:00)$/);

    kit.playground.pass(15 * 60);
    // One jump, after which time stands still: the notice goes away by itself, and must not before it was seen.
    await page.clock.pauseAt(Date.now() + 17 * 60_000);
    await bar(page, 'No session');
    await page.locator('#notice', { hasText: 'expired' }).waitFor();
  });

  test('shows another browser come and go, and ends it from here', async () => {
    const page = await open();
    await logIn(page);
    await live(page);
    await page.locator('#device-list li').first().waitFor();

    const elsewhere = await open(await newBrowser(FIREFOX));
    await logIn(elsewhere);
    const firefox = page.locator('#device-list li', { hasText: 'Firefox on Linux' });
    await firefox.waitFor();
    expect(await page.locator('#device-list li').count()).toBe(2);
    expect(await page.locator('#device-list .badge:visible').count()).toBe(1);
    await click(elsewhere, 'Log out');
    await firefox.waitFor({ state: 'detached' });

    await logIn(elsewhere);
    await firefox.getByRole('button', { name: 'End the session' }).click();
    await bar(elsewhere, 'No session');
    await elsewhere.locator('#notice', { hasText: 'ended from another device' }).waitFor();
    await elsewhere.locator('#ended', { hasText: /^Session ended \d+\.\d ms after the request/ }).waitFor();
    await firefox.waitFor({ state: 'detached' });
    await says(page, 'devices', 'That session is over');

    await logIn(elsewhere);
    await elsewhere.locator('#ended').waitFor({ state: 'hidden' });
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

  test('asks for a new log-in before it ends a session, five minutes after the last one', async () => {
    const page = await open();
    await logIn(page);
    await live(page);
    const elsewhere = await open(await newBrowser(FIREFOX));
    await logIn(elsewhere);
    const firefox = page.locator('#device-list li', { hasText: 'Firefox on Linux' });
    await firefox.waitFor();
    await page.locator('#may-end', { hasText: 'yours is, for' }).waitFor();

    await click(page, '10 minutes pass');
    await page.locator('#may-end', { hasText: 'yours is older' }).waitFor();
    await firefox.getByRole('button', { name: 'End the session' }).click();
    await says(page, 'devices', 'You logged in too long ago. Log in again');
    expect(await wire(page, 'devices').innerText()).toContain('ERR_SESSION_NOT_FRESH');
    await click(page, 'End all others');
    await says(page, 'devices', 'You logged in too long ago. Log in again');
    await bar(elsewhere, 'ada');

    // By keyboard: the link leads to the log-in, whose first stop is the name.
    await page.getByRole('link', { name: 'Log in again' }).focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('username');
    await page.keyboard.press('Enter');
    await says(page, 'log-in', 'You now have a session, ada.');
    await page.locator('#may-end', { hasText: 'yours is, for' }).waitFor();
    await firefox.getByRole('button', { name: 'End the session' }).click();
    await says(page, 'devices', 'That session is over');
    await firefox.waitFor({ state: 'detached' });
    await bar(elsewhere, 'No session');
  });

  test("does not show another user's sessions", async () => {
    const page = await open();
    await logIn(page);
    const elsewhere = await open(await newBrowser(FIREFOX));
    await logIn(elsewhere, 'bob');
    await elsewhere.locator('#device-list .badge:visible').waitFor();
    expect(await elsewhere.locator('#device-list li').count()).toBe(1);
    expect(await page.locator('#device-list li').count()).toBe(1);
  });

  test('requires a new log-in for the vault when the last one is too old', async () => {
    const page = await open();
    await logIn(page);
    await click(page, 'Send twenty of each');
    await says(page, 'apples', 'By update, 20 of 20');
    await click(page, 'Open the vault');
    await says(page, 'vault', 'The vault is open, ada.');

    kit.playground.pass(31);
    await click(page, 'Open the vault');
    await says(page, 'vault', 'you logged in too long ago');
    expect(await wire(page, 'vault').innerText()).toContain('ERR_SESSION_NOT_FRESH');
    await page.locator('#fresh[data-state=stale]').waitFor();

    await click(page, 'Confirm that it is you');
    await says(page, 'vault', 'It is you.');
    await page.locator('#fresh[data-state=fresh]').waitFor();
    await click(page, 'Open the vault');
    await says(page, 'vault', 'The vault is open, ada.');
    expect(await page.locator('#apples-count').innerText()).toBe('20');
    expect(await page.locator('#device-list li').count()).toBe(1);
  });

  test("refuses the other origin's form despite its cookie, and shows the reason", async () => {
    const page = await open();
    await logIn(page);
    await live(page);
    await page.frameLocator('#frame iframe').getByRole('button').click();
    await says(page, 'other', 'Refused');
    const shown = await wire(page, 'other').innerText();
    expect(shown).toContain(`Origin: http://127.0.0.1:${kit.playground.otherPort}`);
    expect(shown).toContain('Sec-Fetch-Site: same-site');
    expect(shown).toMatch(/Cookie: session=[\w-]{22}\.\(secret\)\.\(mac\)/);
    expect(shown).toContain('ERR_SESSION_CROSS_ORIGIN');
    const sent = kit.playground.requests.find(({ url }) => url === '/apples');
    expect(sent?.headers.cookie).toMatch(/^session=/);
    await click(page, 'Read it again');
    await says(page, 'session', 'Reading it counts');
    expect(await page.locator('#apples-count').innerText()).toBe('0');
  });

  test('shows a log-out in another tab of the same browser, and a log-in there', async () => {
    const context = await newBrowser();
    const page = await open(context);
    const tab = await open(context);
    await logIn(page);
    await bar(tab, 'ada');
    await live(tab);

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
    for (const each of [page, tab]) await each.locator('#device-list .badge:visible').waitFor();
    await live(tab);
  });

  test('distinguishes refusals from an unreachable server', async () => {
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
      if (hostname !== '127.0.0.1' || ![kit.playground.port, kit.playground.otherPort].includes(Number(port)))
        foreign.push(request.url());
    });
    for (const url of ['/', '/guide/README.md', '/docs']) {
      await page.goto(kit.playground.url + url);
      await page.waitForLoadState('load');
    }
    await page.locator('.opblock').first().waitFor();
    await page.goto(kit.playground.url);
    await logIn(page);
    await click(page, 'Send twenty of each');
    await says(page, 'apples', 'By update, 20 of 20');
    expect(violations).toEqual([]);
    expect(foreign).toEqual([]);
    await page.addScriptTag({ content: 'window.planted = true' }).catch(() => undefined);
    expect(await page.evaluate('window.planted')).toBeUndefined();
    expect(violations).toHaveLength(1);
  });

  describe('by keyboard alone', () => {
    /** Presses Tab until an element has the focus. */
    async function tabTo(page: Page, name: string): Promise<void> {
      for (let pressed = 0; pressed < 150; pressed++) {
        if ((await focused(page)) === name) return;
        await page.keyboard.press('Tab');
      }
      throw new Error(`Tab does not lead to ${name}`);
    }

    /** Presses a button, which keeps the focus. */
    async function press(page: Page, id: string, step: string, text: string): Promise<void> {
      await tabTo(page, id);
      await page.keyboard.press('Enter');
      await says(page, step, text);
      expect(await focused(page)).toBe(id);
    }

    test('every step is reached and works, and the focus stays where it is', async () => {
      const page = await open();
      await page.keyboard.press('Tab');
      expect(await focused(page)).toBe('Skip to the first step');
      await page.keyboard.press('Enter');
      await page.keyboard.press('Tab');
      expect(await focused(page)).toBe('username');
      await page.keyboard.press('ControlOrMeta+A');
      await page.keyboard.type('grace');
      await page.keyboard.press('Enter');
      await says(page, 'log-in', 'You now have a session, grace.');
      expect(await focused(page)).toBe('username');
      await press(page, 'ask-secure', 'log-in', 'You are secure.');
      await press(page, 'show-session', 'session', 'Reading it counts');
      await press(page, 'look', 'record', 'The id is in both');
      await press(page, 'rotate', 'record', 'New secret');
      await press(page, 'steal', 'thief', 'worth nothing');
      await press(page, 'forge', 'thief', 'All refused');
      await press(page, 'send-twenty', 'apples', '20 of 20');
      await press(page, 'end-others', 'devices', 'There was no other one.');
      await press(page, 'open-vault', 'vault', 'The vault is open, grace.');
      await press(page, 'confirm', 'vault', 'It is you.');
      await press(page, 'admin-log-in', 'admin', 'You now have');
      await press(page, 'leave', 'log-out', 'You no longer have a session.');
      await tabTo(page, 'event-log');
    });

    test('a log-out by the bar, which takes its button away, leads to the name', async () => {
      const page = await open();
      await logIn(page);
      await page.locator('#bar-log-out').focus();
      await page.keyboard.press('Enter');
      await bar(page, 'No session');
      await page.waitForFunction("document.activeElement.id === 'username'");
    });

    test('the focus stays on its button while other devices come and go', async () => {
      const page = await open();
      await logIn(page);
      await live(page);
      const own = page.locator('#device-list li', { has: page.locator('.badge:visible') }).getByRole('button');
      await own.focus();
      const label = await focused(page);
      const elsewhere = await open(await newBrowser(FIREFOX));
      await logIn(elsewhere);
      const firefox = page.locator('#device-list li', { hasText: 'Firefox' });
      await firefox.waitFor();
      expect(await focused(page)).toBe(label);
      await click(elsewhere, 'Log out');
      await firefox.waitFor({ state: 'detached' });
      expect(await focused(page)).toBe(label);
    });

    test('moves the focus to the next device when one is ended, and to the heading after the last', async () => {
      const page = await open();
      await logIn(page);
      await live(page);
      const elsewhere = await open(await newBrowser(FIREFOX));
      await logIn(elsewhere);
      const firefox = page.locator('#device-list li', { hasText: 'Firefox' });
      await firefox.getByRole('button').focus();
      await page.keyboard.press('Enter');
      await firefox.waitFor({ state: 'detached' });
      expect(await focused(page)).toMatch(/^End the session of Chrome.*this browser/);
      await page.keyboard.press('Enter');
      await bar(page, 'No session');
      await page.locator('#device-list .empty').waitFor();
      expect(await focused(page)).toBe('devices-title');
    });
  });

  test('refuses a name of blanks, before the server is asked', async () => {
    const page = await open();
    for (const blanks of ['   ', '\u200b\u2003']) {
      await page.getByLabel('Name').fill(blanks);
      await click(page, 'Log in');
      expect(await page.evaluate('document.activeElement.validationMessage')).toContain('Blanks alone');
    }
    expect(kit.playground.requests.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  const LONG_NAME = 'W'.repeat(40);

  describe.each([
    ['light', { ...DESKTOP, colorScheme: 'light' }],
    ['dark', { ...DESKTOP, colorScheme: 'dark' }],
    ['phone', { ...PHONE, colorScheme: 'light' }],
    ['phone-dark', { ...PHONE, colorScheme: 'dark' }],
  ] as const)('in %s', (name, options) => {
    /** What axe objects to in a page, or in a frame of it. */
    async function objections(frame: Pick<Page, 'evaluate'>): Promise<unknown> {
      await frame.evaluate(axe);
      return frame.evaluate(
        'axe.run({ iframes: false }).then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))',
      );
    }

    const overflow = (page: Page) =>
      page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');

    test('fits its width, and has nothing that axe objects to, without a session and with one', async () => {
      const page = await open(await newBrowser({ ...options, reducedMotion: 'reduce' }));
      for (const state of ['without', 'with'] as const) {
        if (state === 'with') {
          await logIn(page, LONG_NAME);
          await click(page, 'Rotate');
          await says(page, 'record', 'New secret');
          await click(page, 'Steal it, rotate, replay');
          await says(page, 'thief', 'worth nothing');
          await click(page, 'Send twenty of each');
          await says(page, 'apples', 'By update, 20 of 20');
          await click(page, 'Log in as administrator');
          await says(page, 'admin', 'You now have');
          await click(page, '10 minutes pass');
          await says(page, 'session', 'Still good');
          await page.frameLocator('#frame iframe').getByRole('button').click();
          await says(page, 'other', 'Refused');
        }
        expect([state, await overflow(page)]).toEqual([state, 0]);
        expect([state, await objections(page)]).toEqual([state, []]);
        await page.evaluate('scrollTo(0, 0)');
        await picture(page, `${name}-${state}-session`, { fullPage: true });
      }
    });

    test('the framed page, the documents and the API page fit, too', async () => {
      const page = await (await newBrowser(options)).newPage();
      await page.goto(`http://127.0.0.1:${kit.playground.otherPort}/`);
      expect(await objections(page)).toEqual([]);
      await page.goto(`${kit.playground.url}/guide/README.md`);
      expect([await overflow(page), await objections(page)]).toEqual([0, []]);
      await page.goto(`${kit.playground.url}/docs`);
      await page.locator('.opblock').first().waitFor();
      expect(await overflow(page)).toBe(0);
      const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      expect(ground).toBe(options.colorScheme === 'dark' ? 'rgb(28, 32, 34)' : 'rgba(0, 0, 0, 0)');
      await picture(page, `${name}-docs`);
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

  test('fills the meter of a fresh log-in', async () => {
    const page = await open();
    await logIn(page);
    const meter = page.locator('#fresh-meter');
    expect(Number(await meter.getAttribute('max'))).toBe(30);
    expect(Number(await meter.getAttribute('value'))).toBeGreaterThan(0);
    const filled = await page.evaluate(
      "getComputedStyle(document.querySelector('#fresh-meter'), '::-webkit-progress-value').height",
    );
    expect(filled).toBe('6px');
  });

  test('shares its cookie with Swagger UI, which marks the routes that need a session', async () => {
    const context = await newBrowser();
    await logIn(await open(context));
    const docs = await context.newPage();
    await docs.goto(`${kit.playground.url}/docs`);
    const block = (route: string) => docs.locator('.opblock', { has: docs.locator(`[data-path="${route}"]`) });
    const secure = block('/secure');
    await secure.getByText('needs a session').waitFor();
    await block('/get_session').getByText('session optional').waitFor();
    expect(await docs.getByRole('button', { name: 'Authorize' }).count()).toBe(0);
    await secure.locator('.opblock-summary-control').click();
    await secure.locator('.try-out__btn').click();
    await secure.locator('.execute').click();
    await secure.locator('.live-responses-table', { hasText: 'You are secure' }).waitFor();
    await docs.getByRole('link', { name: 'Back to the playground' }).click();
    await bar(docs, 'ada');
  });
});
