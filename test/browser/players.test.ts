import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { cdnInBrowser, openPage, WAIT_MS } from './running-cdn.ts';

/** What `window.nightfillPlayer` gives, as far as it is looked at here. */
interface PlayerState {
  readonly status: { readonly kind: string; readonly text: string };
  readonly playedSeconds: number;
  readonly pathways: readonly string[];
  readonly segments: readonly { n: number; applianceId: string; kind: string; bytes: number }[];
  readonly switches: readonly { kind: string; to: string }[];
}

const { skip, ...running } = cdnInBrowser();

/** The bytes of content that the browser itself received, by host: the page's own record is checked against it. */
function countContent(page: Page): ReadonlyMap<string, number> {
  const bytesByHost = new Map<string, number>();
  page.on('response', (response) => {
    const url = new URL(response.url());
    if (!/\/t\/[^/]+\/[\w-]{43}$/.test(url.pathname) || response.status() !== 206) return;
    const bytes = Number(response.headers()['content-length']);
    bytesByHost.set(url.host, (bytesByHost.get(url.host) ?? 0) + bytes);
  });
  return bytesByHost;
}

function stateOf(page: Page): Promise<PlayerState> {
  return page.evaluate(() => {
    const { status, playedSeconds, pathways, segments, switches } = (
      globalThis as unknown as { nightfillPlayer: PlayerState }
    ).nightfillPlayer;
    return { status, playedSeconds, pathways, segments, switches };
  });
}

/** Waits until the player has played on for `seconds` in all. */
async function playedBeyond(page: Page, seconds: number): Promise<void> {
  await page.waitForFunction(
    (least) =>
      (globalThis as unknown as { nightfillPlayer: PlayerState }).nightfillPlayer.playedSeconds >
      least,
    seconds,
    { timeout: WAIT_MS },
  );
}

test(
  'a browser plays the sample from an appliance, and plays on from another when that one is killed',
  { skip },
  async () => {
    const cdn = running.cdn();
    const url = `${cdn.pagesUrl}/watch?client=${cdn.viewerAddress}`;
    const { page, errors } = await openPage(running.browser(), 'about:blank');
    const received = countContent(page);
    await page.goto(url);
    await playedBeyond(page, 2);

    const boxes = (await cdn.fleet()).sites.flatMap((site) => site.appliances);
    const hostOf = new Map(boxes.map((box) => [box.applianceId, new URL(box.baseUrl).host]));
    const playing = await stateOf(page);
    const victim = playing.segments.at(-1)?.applianceId ?? '';
    const victimHost = hostOf.get(victim);
    assert.ok(victimHost !== undefined, `served by ${victim}, which is no appliance`);
    assert.ok((received.get(victimHost) ?? 0) > 10_000, 'the browser got its bytes there');
    assert.deepEqual([...new Set(playing.segments.map((segment) => segment.kind))].sort(), [
      'audio',
      'video',
    ]);
    assert.ok(playing.pathways.length >= 2, 'there is somewhere to go on');

    cdn.kill9(victim);
    const killedAt = playing.segments.at(-1)?.n ?? 0;
    await page.waitForFunction(
      ([victim, killedAt]) =>
        (globalThis as unknown as { nightfillPlayer: PlayerState }).nightfillPlayer.segments.some(
          (segment) => segment.n > killedAt && segment.applianceId !== victim,
        ),
      [victim, killedAt] as const,
      { timeout: WAIT_MS },
    );
    // Longer than anything that was buffered when the box died.
    await playedBeyond(page, (await stateOf(page)).playedSeconds + 16);

    const after = await stateOf(page);
    const next = after.segments.at(-1)?.applianceId ?? '';
    assert.equal(after.status.kind, 'playing');
    assert.notEqual(next, victim);
    assert.ok(hostOf.has(next), `went on at ${next}, which is no appliance`);
    assert.ok((received.get(hostOf.get(next) ?? '') ?? 0) > 10_000);
    assert.ok(
      after.switches.some((entry) => entry.kind !== 'started' && entry.to === next),
      'the page tells of the switch',
    );
    assert.match(await page.innerText('#switches'), new RegExp(`on ${next}|to ${next}`));
    assert.equal(await page.innerText('#served'), next);
    assert.deepEqual(errors, []);
  },
);
