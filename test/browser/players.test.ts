/**
 * Players in a real browser against one running CDN: the watch page over the death of its box, and stock hls.js and dash.js
 * on a clone, a box that was in none of their initial playlists. Each test says which boxes it wants alive.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { cdnInBrowser, openPage, until, WAIT_MS } from './running-cdn.ts';
import { stockPage } from './stock-page.ts';

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

interface CloneOffer {
  readonly 'PATHWAY-PRIORITY': readonly string[];
  readonly 'PATHWAY-CLONES'?: readonly {
    readonly 'BASE-ID': string;
    readonly ID: string;
    readonly 'URI-REPLACEMENT': {
      readonly HOST?: string;
      readonly 'PER-VARIANT-URIS'?: Readonly<Record<string, string>>;
      readonly 'PER-RENDITION-URIS'?: Readonly<Record<string, string>>;
    };
  }[];
}

const STEERING = /\/v1\/(hls|dash)\//;
const STOCK = {
  hls: {
    manifest: 'master.m3u8',
    script: 'hls.js',
    // A short buffer: the sample would be loaded whole before anything happens. The test pauses before the first play has begun.
    start: `const hls = new Hls({ maxBufferLength: 4, maxMaxBufferLength: 4 });
      hls.on('hlsManifestParsed', () => video.play().catch(() => {}));
      hls.loadSource(url);
      hls.attachMedia(video);`,
  },
  dash: {
    manifest: 'manifest.mpd',
    script: 'dash.js',
    start: `const player = dashjs.MediaPlayer().create();
      const short = { bufferTimeDefault: 4, bufferTimeAtTopQuality: 4, bufferTimeAtTopQualityLongForm: 4 };
      player.updateSettings({ streaming: { buffer: short } });
      player.initialize(video, url, true);`,
  },
} as const;

/**
 * Waits until a paused player has filled its buffer and asks for nothing more: a second without any request open.
 * What dies then dies unnoticed: a stock player that finds all its boxes dead before it hears from steering gives up for good.
 */
async function untilNothingIsAsked(page: Page): Promise<void> {
  await until('the paused player to fill its buffer and to ask for nothing more', async () => {
    const asked = (): Promise<number> =>
      page.evaluate(`performance.getEntriesByType('resource').length`);
    const before = await asked();
    await new Promise((resolve) => {
      setTimeout(resolve, 1_000);
    });
    const isFull = await page.evaluate(
      `(({ buffered, currentTime }) => buffered.length > 0 && buffered.end(buffered.length - 1) > currentTime + 2)(document.getElementById('video'))`,
    );
    return isFull === true && before === (await asked());
  });
}

/**
 * The player begins on boxes that then die, while the one that was dead comes back. It is paused and its first question to
 * steering is held in the browser until all that has happened, so that nobody waits for a TTL: the answer is the one of that moment.
 */
async function playOnClone(player: keyof typeof STOCK, late: string): Promise<CloneOffer> {
  const cdn = running.cdn();
  const boxes = (await cdn.fleet()).sites.flatMap((site) => site.appliances);
  const others = boxes.map((box) => box.applianceId).filter((id) => id !== late);
  const lateHost = new URL(boxes.find((box) => box.applianceId === late)?.baseUrl ?? '').host;
  const { manifest, script, start } = STOCK[player];
  const masterUrl = `${cdn.playUrl}/${manifest}?client=${cdn.viewerAddress}`;
  await cdn.haveAlive(others);

  const { page, errors } = await openPage(running.browser(), 'about:blank');
  const received = countContent(page);
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  let held = '';
  await page.route(STEERING, async (route) => {
    held = route.request().url();
    await released;
    await route.continue();
  });
  const playlist = page.waitForResponse(masterUrl).then((response) => response.text());
  await using played = await stockPage(script, start, masterUrl);
  await page.goto(played.url);
  const initial = await playlist;
  assert.ok(!initial.includes(late), `${late} is in no initial playlist`);
  for (const id of others) assert.ok(initial.includes(id), `${id} is in the initial playlist`);
  await until('the player to play from a box, and to ask steering', () =>
    Promise.resolve(received.size > 0 && held !== ''),
  );
  await page.evaluate('document.getElementById("video").pause()');
  await untilNothingIsAsked(page);
  assert.equal(received.get(lateHost), undefined);

  await cdn.haveAlive([late]);
  const answered = page.waitForResponse(STEERING);
  release();
  const offer = (await (await answered).json()) as CloneOffer;
  assert.equal(offer['PATHWAY-PRIORITY'][0], late);

  const pausedAt = Number(await page.evaluate('document.getElementById("video").currentTime'));
  await page.evaluate('void document.getElementById("video").play()');
  await until(`${player} to play from ${late}`, async () => {
    const at = await page.evaluate('document.getElementById("video").currentTime');
    return Number(at) > pausedAt + 1 && (received.get(lateHost) ?? 0) > 40_000;
  });
  assert.deepEqual(errors, []);
  await page.close();
  return offer;
}

test(
  'stock hls.js plays from a box that is in none of its initial playlists: a clone by PER-VARIANT-URIS and PER-RENDITION-URIS',
  { skip },
  async () => {
    const late = 'lyon-1';
    const { 'PATHWAY-CLONES': clones = [] } = await playOnClone('hls', late);
    assert.deepEqual(
      clones.map(({ ID }) => ID),
      [late],
    );
    const { HOST, ...uris } = clones[0]['URI-REPLACEMENT'];
    assert.equal(HOST, undefined, 'hls.js gives a HOST with a port to nobody');
    assert.ok(Object.keys(uris['PER-VARIANT-URIS'] ?? {}).length > 1);
    assert.ok(Object.keys(uris['PER-RENDITION-URIS'] ?? {}).length > 0);
  },
);

test(
  'stock dash.js plays from a box that is in no BaseURL of its manifest: a clone by HOST',
  { skip },
  async () => {
    const late = 'paris-2';
    const { 'PATHWAY-CLONES': clones = [] } = await playOnClone('dash', late);
    assert.deepEqual(
      clones.map(({ ID }) => ID),
      [late],
    );
    const { HOST, ...uris } = clones[0]['URI-REPLACEMENT'];
    assert.match(HOST ?? '', /^127\.\d+\.\d+\.\d+:\d+$/);
    assert.deepEqual(uris, {}, 'DASH knows no URIs of single files');
  },
);

test(
  'dash.js with the kit plays on from another box when its own is killed: segments are finished there',
  { skip },
  async () => {
    const cdn = running.cdn();
    const boxes = (await cdn.fleet()).sites.flatMap((site) => site.appliances);
    await cdn.haveAlive(boxes.map((box) => box.applianceId));
    const { page, errors } = await openPage(running.browser(), 'about:blank');
    const start = `
      const { attachKit, SETTINGS } = await import('/dash-kit.js');
      const { basesOf } = await import('/bases.js');
      const play = await (await fetch(url.replace('/manifest.mpd', '.json'))).json();
      window.fragments = [];
      window.switches = [];
      const player = dashjs.MediaPlayer().create();
      attachKit(player, {
        bases: basesOf(play),
        onFragment: (event) => fragments.push(event),
        onSwitch: (event) => switches.push(event),
      });
      window.retries = { wanted: SETTINGS.streaming.retryAttempts, has: player.getSettings().streaming.retryAttempts };
      player.updateSettings({ streaming: { buffer: { bufferTimeDefault: 6, bufferTimeAtTopQuality: 6, bufferTimeAtTopQualityLongForm: 6 } } });
      player.initialize(video, url, true);`;
    const manifestUrl = `${cdn.playUrl}/manifest.mpd?client=${cdn.viewerAddress}`;
    await using played = await stockPage('dash.js', start, manifestUrl);
    await page.goto(played.url);
    const look = (): Promise<{
      at: number;
      fragments: { sourceId: string; bytes: number }[];
      switches: { from: string; to: string }[];
      retries: Record<'wanted' | 'has', Record<string, number>>;
    }> =>
      page.evaluate(
        `({ at: document.getElementById('video').currentTime, fragments: window.fragments ?? [], switches: window.switches ?? [], retries: window.retries })`,
      );
    await until('the player to play', async () => (await look()).at > 1);
    const before = await look();
    for (const [name, attempts] of Object.entries(before.retries.wanted)) {
      assert.equal(before.retries.has[name], attempts, `${name} is a setting that dash.js knows`);
    }
    const victim = before.fragments[0].sourceId;
    assert.ok(boxes.some((box) => box.applianceId === victim));
    cdn.kill9(victim);
    const known = before.fragments.length;
    await until('segments from another box', async () =>
      (await look()).fragments.slice(known).some(({ sourceId }) => sourceId !== victim),
    );
    await until(
      'what comes after the buffer to play',
      async () => (await look()).at > before.at + 8,
    );
    const after = await look();
    assert.ok(after.switches.some(({ from, to }) => from === victim && to !== victim));
    assert.deepEqual(errors, []);
    await page.close();
  },
);
