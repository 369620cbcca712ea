import path from 'node:path';

import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core';

import { launch } from './chromium.js';
import { openPlayground, type OpenPlayground } from './open-playground.js';

export const DESKTOP: BrowserContextOptions = { viewport: { width: 1440, height: 900 } };
export const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};
export const FIREFOX: BrowserContextOptions = {
  ...DESKTOP,
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
};

/** What the tests of the page have: a browser for all of them, and for each a playground of its own. */
export interface PlaygroundBrowser {
  readonly playground: OpenPlayground;
  /** A browser of its own, with its own cookies. */
  readonly newBrowser: (options?: BrowserContextOptions) => Promise<BrowserContext>;
  /** The page, once it is ready. */
  readonly open: (context?: BrowserContext) => Promise<Page>;
}

/** Called in a `describe`. */
export function usePlayground(): PlaygroundBrowser {
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

  async function newBrowser(options: BrowserContextOptions = DESKTOP): Promise<BrowserContext> {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(60_000);
    contexts.push(context);
    return context;
  }

  return {
    get playground() {
      return playground;
    },
    newBrowser,
    open: async context => {
      const page = await (context ?? (await newBrowser())).newPage();
      await page.goto(playground.url);
      await page.locator('#events').waitFor();
      await page.getByText('Nothing sent yet').last().waitFor();
      return page;
    },
  };
}

export async function logIn(page: Page, name = 'ada'): Promise<void> {
  await page.getByLabel('Name').fill(name);
  await click(page, 'Log in');
  await says(page, 'log-in', `You now have a session, ${name}.`);
}

/** Waits until a step says something. */
export async function says(page: Page, step: string, text: string): Promise<void> {
  await page.locator(`#${step}-result`, { hasText: text }).waitFor();
}

const SCREENSHOTS = path.resolve(__dirname, '../../build/screenshots');

/** Takes a picture for people to look at. A hurried run takes none: the pictures are half of the time of its test. */
export async function picture(of: Page | Locator, name: string, options: { fullPage?: boolean } = {}): Promise<void> {
  if (process.env['ROUNDS'] !== 'few') await of.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), ...options });
}

/** What stands beside a step. */
export const wire = (page: Page, step: string): Locator => page.locator(`[data-wire="${step}"]`);

export const click = (page: Page, name: string): Promise<void> =>
  page.getByRole('button', { name, exact: true }).first().click();

/** Waits until the bar says something. */
export const bar = (page: Page, text: string): Promise<void> => page.locator('#bar', { hasText: text }).waitFor();

/** Waits until the page gets the events of its session. */
export const live = (page: Page): Promise<void> => page.locator('#live[data-state=on]').waitFor();

/** What a list of requests shows of each: method and path, status, and what was reported. */
export const trail = (page: Page, name: string): Promise<string[]> =>
  page.locator(`#${name}-trail .trail-line`).allInnerTexts();

/** The element that has the focus: its id, or its label, or its text. */
export const focused = (page: Page): Promise<string> =>
  page.evaluate(`(({ id, textContent, ariaLabel, localName }) =>
    localName === 'body' ? 'body' : id || ariaLabel || textContent)(document.activeElement)`);
