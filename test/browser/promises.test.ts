import 'reflect-metadata';

import type { Page } from 'playwright-core';

import { describeInBrowser } from './chromium.js';
import { bar, click, live, logIn, picture as pictureOf, says, trail, usePlayground, wire } from './use-playground.js';

describeInBrowser('the page shows', () => {
  const kit = usePlayground();

  const picture = (page: Page, step: string) => pictureOf(page.locator(`#${step}`), step);

  test('the title, the link to the documentation, and the store of the sessions', async () => {
    const page = await kit.open();
    expect(await page.locator('.intro p').first().innerText()).toMatch(
      /^A playground for routing-controllers-sessions/,
    );
    await page.locator('#backend', { hasText: 'Sessions are kept in the memory of this process' }).waitFor();
    await page.getByRole('link', { name: 'Documentation' }).click();
    await page.locator('.guide', { hasText: '# routing-controllers-sessions' }).waitFor();
    await page.getByRole('link', { name: 'Playground', exact: true }).click();
    await page.waitForURL(`${kit.playground.url}/`);
  });

  test('the parts of the cookie beside the record, which has an id and a hash, and no secret', async () => {
    const context = await kit.newBrowser();
    const page = await kit.open(context);
    await logIn(page);
    await click(page, 'Look into the store');
    await says(page, 'record', 'The secret is only in the cookie');
    const [cookie] = await context.cookies();
    const [id, secret, mac] = cookie!.value.split('.');
    expect(await page.locator('#cookie-panel .part-id').innerText()).toBe(id);
    expect(await page.locator('#record-panel .part-id').innerText()).toBe(id);
    expect(await page.locator('#record-panel .part-proof').innerText()).toMatch(/^[\w-]{43}$/);
    expect(await page.locator('#record-panel').innerText()).toContain('{"username":"ada"}');
    const html = await page.content();
    for (const part of [secret!, mac!]) expect(html).not.toContain(part);
    await picture(page, 'record');
  });

  test('a rotation: the id stays, secret and proof are exchanged, and the old cookie is dead', async () => {
    const context = await kit.newBrowser();
    const page = await kit.open(context);
    await logIn(page);
    const [before] = await context.cookies();
    await click(page, 'Rotate');
    await says(page, 'record', 'New secret, new cookie.');
    const [after] = await context.cookies();
    expect(after!.value.split('.')[0]).toBe(before!.value.split('.')[0]);
    expect(after!.value.split('.')[1]).not.toBe(before!.value.split('.')[1]);
    const old = await page.locator('#record-panel .old').innerText();
    expect(await page.locator('#record-panel .part-proof').innerText()).not.toBe(old);
    expect((await wire(page, 'record').innerText()).match(/Set-Cookie: session=[\w-]{22}\.\(secret\)/g)).toHaveLength(
      1,
    );
    expect(await wire(page, 'record').innerText()).toContain('Reported: rotated');
    const replay = await fetch(`${kit.playground.url}/secure`, { headers: { cookie: `session=${before!.value}` } });
    expect(replay.status).toBe(403);
  });

  test('a stolen cookie that opens the session, until a rotation supersedes it', async () => {
    const page = await kit.open();
    await logIn(page);
    await click(page, 'Steal it, rotate, replay');
    await says(page, 'thief', 'The copy is worth nothing any more, and you are still in.');
    expect(await trail(page, 'thief')).toEqual([
      'POST /thief/copies 200',
      'GET /secure 200',
      'POST /session/rotate 200 rotated',
      'GET /secure 403 rejected: superseded',
      'GET /secure 200',
    ]);
    await page.locator('#event-log li', { hasText: 'rejected: superseded' }).waitFor();
    await picture(page, 'thief');
  });

  test('forged cookies, which are refused by their MAC', async () => {
    const page = await kit.open();
    await click(page, 'Forge three');
    await says(page, 'thief', 'Log in first');
    await logIn(page);
    await click(page, 'Forge three');
    await says(page, 'thief', 'All refused by their MAC');
    expect(await trail(page, 'thief')).toEqual([
      'GET /secure 403 rejected: signature',
      'GET /secure 403 rejected: signature',
      'GET /admin 403 rejected: signature',
    ]);
    await click(page, 'Ask for /secure');
    await says(page, 'log-in', 'You are secure.');
  });

  test('both clocks, and an idle timeout when the clock is moved past it', async () => {
    const page = await kit.open();
    await logIn(page);
    await live(page);
    await click(page, '10 minutes pass');
    await says(page, 'session', 'Still good. Without a request it is over in 5:00.');
    await page.locator('#ahead', { hasText: 'The server’s clock is 10:00 ahead.' }).waitFor();
    expect(await page.locator('#idle-clock').innerText()).toMatch(/^(5:00|4:5\d)$/);
    expect(await page.locator('#absolute-clock').innerText()).toMatch(/^7:(50:00|49:\d\d)$/);
    // The request that moves the clock counts, at the time before.
    await click(page, '10 minutes pass');
    await says(page, 'session', 'Still good');
    await click(page, '16 minutes pass');
    await says(page, 'session', 'Over, although nobody ended it');
    expect(await wire(page, 'session').innerText()).toContain('403 Forbidden');
    await bar(page, 'No session');
    await page.locator('#event-log li', { hasText: 'expired: idle' }).waitFor();
    await click(page, 'Set the clock right');
    await page.locator('#ahead', { hasText: 'The server’s clock is right.' }).waitFor();
  });

  test('an absolute timeout that no activity extends', async () => {
    const page = await kit.open();
    await logIn(page);
    await click(page, 'Be active for 8 hours');
    await says(page, 'session', 'Over after eight hours, however active you were.');
    expect(await trail(page, 'clock')).toEqual(['GET /session 200', 'GET /session 403 expired: absolute']);
    expect(await page.locator('#clock-trail').innerText()).toContain('34 times: 14 minutes pass');
    await bar(page, 'No session');
    await picture(page, 'session');
  });

  test('a clock that was moved on every open page', async () => {
    const page = await kit.open();
    const elsewhere = await kit.open(await kit.newBrowser());
    await logIn(elsewhere, 'bob');
    await live(elsewhere);
    await click(page, '16 minutes pass');
    await says(page, 'session', 'Time passed.');
    await elsewhere.locator('#ahead', { hasText: '16:00 ahead' }).waitFor();
    await bar(elsewhere, 'No session');
  });

  test('twenty updates at once of which none is lost, beside twenty assignments', async () => {
    const page = await kit.open();
    await logIn(page);
    kit.playground.pace.together = 2;
    await click(page, 'Send twenty of each');
    await says(page, 'apples', 'By update, 20 of 20 were kept.');
    expect(await page.locator('#apples-count').innerText()).toBe('20');
    // Two at a time read the same number.
    const pears = Number(await page.locator('#pears-count').innerText());
    expect(pears).toBeGreaterThan(0);
    expect(pears).toBeLessThanOrEqual(10);
    expect(await page.locator('.volley li.good').count()).toBe(40);
    for (const url of ['/apples', '/pears'])
      expect(kit.playground.requests.filter(request => request.url === url)).toHaveLength(20);
    const shown = await wire(page, 'apples').innerText();
    expect(shown).toContain('session.update(data => {');
    expect(shown).toContain('user.pears = pears + 1;');
    await picture(page, 'apples');
  });

  test('a log-out during a running request, which does not revive the session', async () => {
    const page = await kit.open();
    await logIn(page);
    await live(page);
    await click(page, 'Start it, then log out');
    await bar(page, 'No session');
    kit.playground.pace.reported.open();
    await says(page, 'slow', 'Logged out is logged out.');
    expect(await trail(page, 'slow')).toEqual([
      'POST /leave_session 200 ended: logout',
      'POST /apples/slowly 409',
      'GET /secure 403 rejected: unknown',
    ]);
    const shown = await wire(page, 'slow').innerText();
    expect(shown).toContain('ERR_SESSION_GONE');
    expect(shown).not.toContain('Set-Cookie: session=');
    expect(await page.context().cookies()).toEqual([]);
    await picture(page, 'slow');
  });

  test('two kinds of sessions side by side: one ends and the other stays', async () => {
    const context = await kit.newBrowser();
    const page = await kit.open(context);
    await logIn(page);
    await click(page, 'Ask for /admin');
    await says(page, 'admin', 'Refused: Not authenticated.');
    await click(page, 'Log in as administrator');
    await says(page, 'admin', 'You now have an administrator’s session.');
    expect((await context.cookies()).map(({ name, sameSite, expires }) => [name, sameSite, expires === -1])).toEqual([
      ['session', 'Lax', false],
      ['admin', 'Strict', true],
    ]);
    const panel = page.locator('#kinds-panel');
    await panel.getByText('a session of its own').waitFor();
    await panel.getByText('ada’s session').waitFor();
    await picture(page, 'admin');

    await page.locator('#leave').click();
    await says(page, 'log-out', 'You no longer have a session.');
    await click(page, 'Ask for /admin');
    await says(page, 'admin', 'You are an administrator.');
    await click(page, 'Log the administrator out');
    await says(page, 'admin', 'You no longer are an administrator.');
    expect(await context.cookies()).toEqual([]);
  });

  test('events as they happen, in other browsers too, without a token and without being activity', async () => {
    const context = await kit.newBrowser();
    const page = await kit.open(context);
    await page.locator('#event-log .empty').waitFor();
    const elsewhere = await kit.open(await kit.newBrowser());
    await logIn(elsewhere, 'bob');
    await page.locator('#event-log li', { hasText: 'created' }).getByText('bob').waitFor();
    await logIn(page);
    await live(page);
    const [cookie] = await context.cookies();
    const before = kit.playground.requests.length;
    await click(elsewhere, 'Log out');
    await page.locator('#event-log li', { hasText: 'ended: logout' }).getByText('bob').waitFor();
    const sent = kit.playground.requests.slice(before).map(({ headers }) => headers.cookie);
    expect(sent).not.toContain(`session=${cookie!.value}`);
    for (const part of cookie!.value.split('.').slice(1)) expect(await page.content()).not.toContain(part);
    await picture(page, 'events');
  });

  test('a log-in over plain HTTP from another machine, with the reason for the missing session', async () => {
    const page = await (await kit.newBrowser()).newPage();
    await page.goto(`http://lan.test:${kit.playground.port}/`);
    await page.locator('#insecure', { hasText: 'browsers throw them away' }).waitFor();
    await click(page, 'Log in');
    await says(page, 'log-in', 'your browser threw its cookie away: it is Secure');
    expect(await page.locator('#log-in-result').getAttribute('data-kind')).toBe('bad');
    await bar(page, 'No session');
    const local = await kit.open();
    expect(await local.locator('#insecure').isVisible()).toBe(false);
  });
});
