import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { systemClock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import { createLogger } from '#base/log.ts';
import { checkPlayAnswer } from '#steering/contract.ts';
import {
  OriginConfigSchema,
  PlaybackConfigSchema,
  playbackRelations,
  type PlaybackConfig,
} from '../config.ts';
import type { FileEntry } from '../contract.ts';
import { parseOpaqueSpec } from '../opaque.ts';
import { startOrigin, type RunningOrigin } from './origin-server.ts';
import { createPlaybackServer } from './playback-server.ts';
import { publishOpaque } from './publishing.ts';
import { publishSample } from './sample.ts';
import {
  keySourceOf,
  makeTestKeys,
  TestControlPlane,
  type TestKeys,
} from './test-control-plane.ts';
import { TestSteering } from './test-steering.ts';

const log = createLogger('test', 'silent');
let directory: string;
let keys: TestKeys;
let controlPlane: TestControlPlane;
let controlPlaneUrl: string;
let steering: TestSteering;
let origin: RunningOrigin;
let originUrl: string;
let files: readonly FileEntry[];
let playback: FastifyInstance;
let baseUrl: string;
let stateDirs = 0;

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'nightfill-playback-'));
  keys = await makeTestKeys();
  controlPlane = new TestControlPlane(keys);
  controlPlaneUrl = await controlPlane.start();
  const listen = { address: '127.0.0.1', port: 0 };
  const stateDir = path.join(directory, 'origin');
  const config = withDefaults(OriginConfigSchema, {
    listen,
    admin: listen,
    stateDir,
    controlPlaneUrl,
    rootFingerprint: keys.rootFingerprint,
  });
  assert.ok(config.ok);
  origin = await startOrigin({
    config: config.value,
    clock: systemClock,
    log,
    keys: keySourceOf(keys.ring),
  });
  originUrl = `http://127.0.0.1:${origin.content.port}`;
  const target = { controlPlaneUrl, token: 'publish-token', originDir: stateDir };
  const sample = await publishSample({}, target);
  assert.ok(sample.ok);
  files = sample.value.files;
  const spec = parseOpaqueSpec('files=3x1000;seed=9');
  assert.ok(spec.ok);
  assert.ok((await publishOpaque(spec.value, { titleId: 'bytes' }, target)).ok);
});

beforeEach(async () => {
  steering = new TestSteering(keys);
  const steeringUrl = await steering.start();
  // A box that is down (nothing listens on port 1), a box that works, the origin.
  steering.boxes = [
    { pathwayId: 'paris-1', baseUrl: originUrl.replace('127.0.0.1', 'localhost') },
    { pathwayId: 'paris-2', baseUrl: 'http://127.0.0.1:1' },
    { pathwayId: 'origin', baseUrl: originUrl },
  ];
  playback = await start(configOf({ steeringUrl }));
});

afterEach(async () => {
  await playback.close();
  await steering.stop();
});

after(async () => {
  await origin.close();
  await controlPlane.stop();
  await rm(directory, { recursive: true, force: true });
});

function configOf(more: object): PlaybackConfig {
  const checked = withDefaults(PlaybackConfigSchema, {
    listen: { address: '127.0.0.1', port: 0 },
    stateDir: path.join(directory, `playback-${stateDirs++}`),
    publicUrl: 'http://playback.test',
    controlPlaneUrl,
    steeringUrl: 'http://127.0.0.1:1',
    steeringToken: 'playback-token-of-tests',
    listingMaxAgeMs: 0,
    ...more,
  });
  assert.ok(checked.ok, JSON.stringify(checked));
  return checked.value;
}

async function start(config: PlaybackConfig): Promise<FastifyInstance> {
  const server = createPlaybackServer({ config, clock: systemClock, log });
  baseUrl = await server.listen({ host: '127.0.0.1', port: 0 });
  return server;
}

const get = (where: string): Promise<Response> => fetch(`${baseUrl}${where}`);
/** URLs in playlists name the public address; the test's listener stands for it. */
const local = (url: string): string => url.replace('http://playback.test', baseUrl);
const playlistsOf = (multivariant: string): readonly string[] =>
  [...multivariant.matchAll(/http:\/\/playback\.test[^"\n]+/g)].map(([url]) => local(url));

async function refusalOf(answer: Response): Promise<[number, string, string]> {
  const { error, message } = (await answer.json()) as { error: string; message: string };
  assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  return [answer.status, error, message];
}

test('a viewing goes from the multivariant playlist over media playlists to bytes of every file', async () => {
  const answer = await get('/play/sample/master.m3u8');
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/vnd.apple.mpegurl');
  assert.equal(answer.headers.get('cache-control'), 'no-store');
  const multivariant = await answer.text();
  assert.match(multivariant, /SERVER-URI="http:\/\/steering\.test\/v1\/hls\/[A-Za-z0-9_-]{22}",PATHWAY-ID="paris-1"/); // prettier-ignore
  assert.equal(steering.asked.length, 1);
  assert.equal(steering.asked[0].clientAddress, '127.0.0.1');
  const playlists = playlistsOf(multivariant);
  assert.equal(playlists.length, 3 * 3);
  for (const url of playlists) {
    const media = await fetch(url);
    assert.equal(media.status, 200);
    const lines = (await media.text()).split('\n');
    const [, length, start] = /^#EXT-X-BYTERANGE:(\d+)@(\d+)$/m.exec(lines.join('\n')) ?? [];
    const segment = lines[lines.findIndex((line) => line.startsWith('#EXT-X-BYTERANGE')) + 1];
    if (segment.startsWith('http://127.0.0.1:1/')) continue; // the box that is down
    const end = Number(start) + Number(length) - 1;
    const bytes = await fetch(segment, { headers: { range: `bytes=${start}-${end}` } });
    assert.equal(bytes.status, 206);
    const moof = Buffer.from(await bytes.arrayBuffer());
    assert.equal(moof.length, Number(length));
    assert.equal(moof.toString('latin1', 4, 8), 'moof');
  }
  assert.equal(steering.asked.length, 1, 'one question per viewing');
});

test('each pathway’s media playlists lead to its own box', async () => {
  const multivariant = await (await get('/play/sample/master.m3u8')).text();
  for (const url of playlistsOf(multivariant)) {
    const host = new URL(/^http\S+\/t\/\S+$/m.exec(await (await fetch(url)).text())?.[0] ?? '')
      .host;
    const expected = new URL(steering.boxes.find(({ pathwayId }) => url.includes(`/${pathwayId}/`))?.baseUrl ?? '').host; // prettier-ignore
    assert.equal(host, expected);
  }
});

test('playlists are gzip-encoded for those who take it', async () => {
  const multivariant = await (await get('/play/sample/master.m3u8')).text();
  const [url] = playlistsOf(multivariant);
  const encoded = await fetch(url, { headers: { 'accept-encoding': 'gzip' } });
  assert.equal(encoded.headers.get('content-encoding'), 'gzip');
  const plain = await fetch(url, { headers: { 'accept-encoding': 'gzip;q=0, identity' } });
  assert.equal(plain.headers.get('content-encoding'), null);
  assert.equal(await encoded.text(), await plain.text());
});

test('after a restart a media playlist is made again: steering is asked for the same session', async () => {
  const multivariant = await (await get('/play/sample/master.m3u8?client=127.9.9.9')).text();
  const [before] = playlistsOf(multivariant);
  const session = steering.asked[0].session;
  await playback.close();
  const old = baseUrl;
  playback = await start(configOf({ steeringUrl: await steeringUrlOf() }));
  const again = await fetch(before.replace(old, baseUrl));
  assert.equal(again.status, 200);
  assert.equal(steering.asked.length, 2);
  assert.equal(steering.asked[1].session, session);
  assert.equal(steering.asked[1].clientAddress, '127.9.9.9');
});

/** The URL of the steering that is running: it was given at the start of the test. */
async function steeringUrlOf(): Promise<string> {
  await steering.stop();
  return steering.start();
}

test('a session that is not known and whose URL names no title is 404 with what to do', async () => {
  const answer = await get(`/hls/nobody/paris-1/${files[0].fileId}.m3u8`);
  const [status, error, message] = await refusalOf(answer);
  assert.deepEqual([status, error], [404, 'unknown-session']);
  assert.match(message, /load the multivariant playlist again/);
});

test('a pathway or a file that is not the session’s is 404', async () => {
  const multivariant = await (await get('/play/sample/master.m3u8')).text();
  const [url] = playlistsOf(multivariant);
  const otherBox = await refusalOf(await fetch(url.replace('/paris-1/', '/rome-1/')));
  assert.deepEqual(otherBox.slice(0, 2), [404, 'unknown-file']);
  const otherFile = await refusalOf(
    await fetch(url.replace(/[A-Za-z0-9_-]{43}\.m3u8/, `${'x'.repeat(43)}.m3u8`)),
  );
  assert.deepEqual(otherFile.slice(0, 2), [404, 'unknown-file']);
  const rubbish = await refusalOf(await get('/hls/a/b/c.m3u8?title=sample'));
  assert.deepEqual(rubbish.slice(0, 2), [400, 'bad-request']);
});

test('the index of a file is read from the next source when the first does not give it', async () => {
  steering.boxes = [
    { pathwayId: 'paris-1', baseUrl: originUrl },
    { pathwayId: 'origin', baseUrl: 'http://127.0.0.1:1' },
  ];
  const multivariant = await (await get('/play/sample/master.m3u8')).text();
  assert.equal((await fetch(playlistsOf(multivariant)[0])).status, 200);
});

test('when no source gives the index the answer is 502 and names each of them', async () => {
  steering.boxes = [
    { pathwayId: 'paris-2', baseUrl: 'http://127.0.0.1:1' },
    { pathwayId: 'origin', baseUrl: 'http://127.0.0.1:1' },
  ];
  const multivariant = await (await get('/play/sample/master.m3u8')).text();
  const [status, error, message] = await refusalOf(await fetch(playlistsOf(multivariant)[0]));
  assert.deepEqual([status, error], [502, 'index-unreadable']);
  assert.match(message, /origin: .*paris-2: /);
});

test('the DASH manifest names every box and every file', async () => {
  const answer = await get('/play/sample/manifest.mpd');
  assert.equal(answer.headers.get('content-type'), 'application/dash+xml');
  const text = await answer.text();
  for (const { pathwayId } of steering.boxes) {
    assert.ok(text.includes(`<BaseURL serviceLocation="${pathwayId}">`));
  }
  for (const { fileId } of files) assert.ok(text.includes(`<BaseURL>${fileId}</BaseURL>`));
  const base = /serviceLocation="origin">([^<]+)</.exec(text)?.[1] ?? '';
  const range = /indexRange="(\d+-\d+)"/.exec(text)?.[1] ?? '';
  const file = /<BaseURL>([^<]+)</.exec(text)?.[1] ?? '';
  const index = await fetch(`${base}${file}`, { headers: { range: `bytes=${range}` } });
  assert.equal(index.status, 206);
  const sidx = Buffer.from(await index.arrayBuffer());
  assert.equal(sidx.readUInt32BE(0), sidx.length);
  assert.equal(sidx.toString('latin1', 4, 8), 'sidx');
});

test('an opaque title cannot be streamed, and its JSON has the URLs', async () => {
  for (const manifest of ['master.m3u8', 'manifest.mpd']) {
    const [status, error, message] = await refusalOf(await get(`/play/bytes/${manifest}`));
    assert.deepEqual([status, error], [422, 'not-streamable']);
    assert.match(message, /\/play\/bytes\.json/);
  }
  const body = (await (await get('/play/bytes.json')).json()) as {
    play: unknown;
    listing: { files: FileEntry[] };
  };
  const play = checkPlayAnswer(body.play);
  assert.ok(play.ok);
  assert.equal(play.value.files.length, 3);
  assert.equal(body.listing.files.length, 3);
  const { urls } = play.value.files[0];
  assert.equal((await fetch(urls[0].url)).status, 200);
});

test('the JSON of chosen files holds those only', async () => {
  const { fileId } = files[1];
  const body = (await (await get(`/play/sample.json?files=${fileId}`)).json()) as {
    play: { files: { fileId: string }[] };
  };
  assert.deepEqual(
    body.play.files.map((file) => file.fileId),
    [fileId],
  );
  assert.equal((await get('/play/sample.json?files=x')).status, 400);
});

test('client= and country= of a caller on loopback are passed on, and the playlists repeat them', async () => {
  const where = '/play/sample/master.m3u8?client=::ffff:127.0.200.9&country=FR';
  const multivariant = await (await get(where)).text();
  assert.equal(steering.asked[0].clientAddress, '127.0.200.9');
  assert.equal(steering.asked[0].country, 'FR');
  assert.ok(playlistsOf(multivariant)[0].endsWith('&client=%3A%3Affff%3A127.0.200.9&country=FR'));
  assert.equal((await refusalOf(await get('/play/sample.json?client=me')))[0], 400);
  assert.equal((await refusalOf(await get('/play/sample.json?country=fr')))[0], 400);
});

test('a title that is unknown is 404; one that steering may not show is 403 in its own words', async () => {
  assert.equal((await refusalOf(await get('/play/nothing/master.m3u8')))[1], 'unknown-title');
  assert.equal((await refusalOf(await get('/play/no%20id/master.m3u8')))[0], 404);
  steering.refusal = {
    status: 403,
    body: { message: 'title sample may not be shown in DE', problems: ['allowed: FR'] },
  };
  const [status, error, message] = await refusalOf(await get('/play/sample/master.m3u8'));
  assert.deepEqual([status, error], [403, 'not-available']);
  assert.equal(message, 'title sample may not be shown in DE (allowed: FR)');
});

test('with steering gone a new viewing is 502 with the reason, and a running one goes on', async () => {
  const multivariant = await (await get('/play/sample/master.m3u8')).text();
  await steering.stop();
  const [status, error, message] = await refusalOf(await get('/play/sample/master.m3u8'));
  assert.deepEqual([status, error], [502, 'steering-gone']);
  assert.match(message, /does not answer/);
  assert.equal((await fetch(playlistsOf(multivariant)[0])).status, 200);
});

test('steering that is not ready or answers nonsense is 502 as well', async () => {
  for (const refusal of [
    { status: 503, body: { message: 'no fleet snapshot yet' } },
    { status: 200, body: { files: 'x' } },
    { status: 200, body: 'x' },
  ]) {
    steering.refusal = refusal;
    assert.equal((await refusalOf(await get('/play/sample/master.m3u8')))[1], 'steering-gone');
  }
});

test('with the control plane gone a title that was seen plays, also after a restart; others are 502', async (context) => {
  const stateDir = path.join(directory, 'keeps');
  const other = new TestControlPlane(keys);
  const url = await other.start();
  context.after(() => other.stop());
  for (const [titleId, listing] of controlPlane.titles) other.titles.set(titleId, listing);
  const steeringUrl = await steeringUrlOf();
  const config = configOf({ controlPlaneUrl: url, stateDir, steeringUrl });
  await playback.close();
  playback = await start(config);
  assert.equal((await get('/play/sample/master.m3u8')).status, 200);
  await other.stop();
  assert.equal((await get('/play/sample/master.m3u8')).status, 200);
  await playback.close();
  playback = await start(config);
  assert.equal((await get('/play/sample/master.m3u8')).status, 200);
  const [status, error] = await refusalOf(await get('/play/bytes.json'));
  assert.deepEqual([status, error], [502, 'catalogue-gone']);
  // What is kept is checked like anything else that is read.
  await writeFile(path.join(stateDir, 'listings', 'bytes.json'), '{"titleId":"bytes"}');
  assert.equal((await refusalOf(await get('/play/bytes.json')))[1], 'catalogue-gone');
});

test('a title that nobody played yet plays when the control plane is gone: listings are fetched ahead', async (context) => {
  const stateDir = path.join(directory, 'ahead');
  const other = new TestControlPlane(keys);
  other.listsTitles = true;
  const url = await other.start();
  context.after(() => other.stop());
  for (const [titleId, listing] of controlPlane.titles) other.titles.set(titleId, listing);
  await playback.close();
  playback = await start(
    configOf({ controlPlaneUrl: url, stateDir, steeringUrl: await steeringUrlOf() }),
  );
  while (!existsSync(path.join(stateDir, 'listings', 'sample.json'))) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await other.stop();
  assert.equal((await get('/play/sample/master.m3u8')).status, 200);
});

test('other paths say what is served, preflights pass, and HEAD works', async () => {
  const [status, error] = await refusalOf(await get('/'));
  assert.deepEqual([status, error], [404, 'no-such-page']);
  assert.equal((await refusalOf(await get('/play/sample')))[0], 404);
  const preflight = await fetch(`${baseUrl}/play/sample/master.m3u8`, { method: 'OPTIONS' });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
  const head = await fetch(`${baseUrl}/play/sample/master.m3u8`, { method: 'HEAD' });
  assert.equal(head.status, 200);
});

test('a listener beyond loopback is refused unless it is said that everybody may play', () => {
  const listen = { address: '0.0.0.0', port: 0 };
  assert.match(playbackRelations(configOf({ listen })).join(), /openToAnybody/);
  assert.deepEqual(playbackRelations(configOf({ listen, openToAnybody: true })), []);
  assert.deepEqual(playbackRelations(configOf({})), []);
});
