import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cdnInBrowser, openPage, WAIT_MS } from './running-cdn.ts';

const { skip, ...running } = cdnInBrowser();

test(
  'a takedown, a release and a box’s drift are on the fleet page, opened by keyboard, box by box and file by file',
  { skip },
  async () => {
    const cdn = running.cdn();
    const boxes = (await cdn.fleet()).sites.flatMap((site) => site.appliances);
    const { titles } = (await cdn.call('GET', '/v1/titles')) as { titles: { titleId: string }[] };
    const [{ titleId }] = titles;
    const listing = (await cdn.call('GET', `/v1/titles/${titleId}`)) as { version: number };
    await cdn.call('POST', '/v1/titles', 'publish', {
      ...listing,
      version: listing.version + 1,
      release: {
        at: new Date(Date.now() + 47.5 * 3_600_000).toISOString(),
        countries: ['*'],
        priority: 1,
      },
    });
    const { page, errors } = await openPage(running.browser(), `${cdn.pagesUrl}/`);
    const openFirst = async (list: string): Promise<string> => {
      const summary = page.locator(`#${list} summary`).first();
      await summary.waitFor({ timeout: WAIT_MS });
      await summary.focus();
      await page.keyboard.press('Enter');
      return page.locator(`#${list} details[open] .lines`).innerText();
    };

    const release = page.locator('#releases li').filter({ hasText: titleId });
    await release.first().waitFor({ timeout: WAIT_MS });
    assert.match(
      await release.innerText(),
      /in 47\sh[^]*clusters? live, \d+ of \d+ files? in enough/,
    );
    assert.notEqual(await openFirst('releases'), '');

    const { id } = (await cdn.call('POST', '/v1/denials', 'operator', {
      kind: 'issuer',
      value: 'a-former-partner',
      reason: 'contract ended',
    })) as { id: number };
    const takedown = page.locator('#takedowns li', { hasText: 'issuer a-former-partner' });
    await takedown.getByText(`${boxes.length} boxes stopped`).waitFor({ timeout: WAIT_MS });
    assert.match(await takedown.innerText(), /stopped, the last after \d+\.\d\d\ss/);
    const said = await openFirst('takedowns');
    for (const { applianceId } of boxes) {
      assert.match(said, new RegExp(`${applianceId}\\s+acknowledged: stopped after`));
    }
    await cdn.call('DELETE', `/v1/denials/${id}`, 'operator');
    await takedown.getByText('Lifted').waitFor({ timeout: WAIT_MS });
    assert.equal(
      await page.locator('#takedowns details').first().getAttribute('open'),
      '',
      'what was opened stays open',
    );

    assert.equal(await page.locator('#inventory li > details').count(), boxes.length);
    await openFirst('inventory');
    const drift = page.locator('#inventory details[open] .lines');
    await drift.getByText(/nothing is wanted and not held|wanted and not held/).waitFor();
    assert.match(await drift.innerText(), /as of \d\d:\d\d:\d\d: manifest \d+[^]*extra/);
    assert.equal(await page.innerText('#rollout-pill'), 'Not staged');
    assert.equal(await page.innerText('#quarantine-pill'), 'None');
    assert.match(await page.innerText('#work-age'), /as of .*\ss ago/);

    const node = page.locator('#nodes li').first();
    await node.getByText('Live').waitFor({ timeout: WAIT_MS });
    assert.match(await node.innerText(), /heard \d[^]*no box is in doubt/);
    assert.match(await page.innerText('#nodes-note'), /One node: it judges boxes alone/);
    assert.match(await page.innerText('#externals-note'), /nightfill externals add/);
    await cdn.call('POST', '/v1/externals', 'operator', {
      externalId: 'another-cdn',
      name: 'Another CDN whose name goes on and on and does not end where a panel does',
      baseUrl: 'https://a-rather-long-host-name.of-another-cdn.example:8443',
      tokens: 'rfc9246',
      costPerGb: 0.02,
      budgetPerDay: 500,
      regions: [{ countries: ['*'], commitBps: 1e9, capBps: 10e9 }],
    });
    const external = page.locator('#externals li').filter({ hasText: '0.02 a GB' });
    await external.first().waitFor({ timeout: WAIT_MS });
    assert.match(await openFirst('externals'), /anywhere[^]*cap 10\.0/);
    await cdn.call('DELETE', '/v1/externals/another-cdn', 'operator');
    await external.first().waitFor({ state: 'detached', timeout: WAIT_MS });
    await page.setViewportSize({ width: 390, height: 800 });
    const tooWide = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.equal(tooWide, 0, 'nothing is cut off on a phone');
    assert.deepEqual(errors, []);
    await page.close();
  },
);

test(
  'the fleet page shows each appliance with the age of its figures, marks the killed one, and says when nobody answers',
  { skip },
  async () => {
    const cdn = running.cdn();
    const { page, errors } = await openPage(running.browser(), `${cdn.pagesUrl}/`);
    const view = await cdn.fleet();
    const boxes = view.sites.flatMap((site) => site.appliances);
    assert.ok(boxes.length >= 3);

    for (const box of boxes) {
      const row = page.locator(`tr[data-appliance="${box.applianceId}"]`);
      await row.and(page.locator('[data-standing="serving"]')).waitFor({ timeout: WAIT_MS });
      assert.match(await row.locator('td.age').innerText(), /\d\ss ago/);
      assert.match(await row.locator('td.fill').innerText(), /100\s%[^]*complete/);
      assert.match(await row.locator('td.store').innerText(), /iB/);
    }
    assert.equal(await page.locator('section.site').count(), view.sites.length);
    assert.equal(await page.innerText('#connection-word'), 'Live');
    assert.match(
      await page.innerText('#boxes-words'),
      new RegExp(`${boxes.length} of ${boxes.length} serving`),
    );

    const victim = boxes[0].applianceId;
    cdn.kill9(victim);
    const dead = page.locator(`tr[data-appliance="${victim}"]`);
    await dead.and(page.locator('[data-standing="gone-hard"].stale')).waitFor({ timeout: WAIT_MS });
    assert.equal(await dead.locator('.pill').innerText(), 'Gone');
    assert.notEqual(await dead.locator('.why').innerText(), '');
    for (const { applianceId } of boxes.slice(1)) {
      const row = page.locator(`tr[data-appliance="${applianceId}"]`);
      assert.equal(await row.getAttribute('data-standing'), 'serving');
    }
    await page.click('button[data-show="look"]');
    assert.deepEqual(
      await page
        .locator('tr[data-appliance]')
        .evaluateAll((rows) => rows.map((row) => row.getAttribute('data-appliance'))),
      [victim],
    );

    cdn.kill9('control-plane');
    await page.locator('#banner').waitFor({ state: 'visible', timeout: WAIT_MS });
    assert.match(
      await page.innerText('#banner'),
      /Last seen \d+\ss ago[^]*No word from the control plane/,
    );
    assert.equal(await page.getAttribute('#page', 'data-state'), 'lost');
    assert.deepEqual(errors, []);
  },
);
