import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cdnInBrowser, openPage, WAIT_MS } from './running-cdn.ts';

const { skip, ...running } = cdnInBrowser();

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
