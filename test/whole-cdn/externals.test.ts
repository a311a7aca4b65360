/**
 * A second origin as external CDN: registered by an operator, told to steering, and where viewers end when no box takes them.
 */
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import type { PlayAnswer } from '#steering/contract.ts';
import { FewBoxes, until, type FakeBox } from './few-boxes.ts';

const PORT = 26_700;
const cdn = new FewBoxes('80', PORT);
after(() => cdn.close());

const ORIGIN = { address: '127.80.0.2', port: PORT + 80 };
const EXTERNAL = { address: '127.80.0.3', port: PORT + 80 };
const urlOf = ({ address, port }: typeof ORIGIN): string => `http://${address}:${port}`;
const originDir = path.join(cdn.directory, 'origin');

let title = '';
let files: readonly { fileId: string; sizeBytes: number }[] = [];
let a: FakeBox;
let b: FakeBox;

const ask = (
  session: string,
  country = 'FR',
  clientAddress = '198.51.100.7',
): Promise<PlayAnswer> => cdn.play(1, { titleId: title, clientAddress, country, session });

async function list(session = 's', country = 'FR', client?: string): Promise<readonly string[]> {
  const { files: ranked } = await ask(session, country, client);
  return ranked[0].urls.map(({ pathwayId }) => pathwayId);
}

function operator(...args: readonly string[]): Promise<string> {
  const tokenFile = path.join(cdn.directory, 'operator.token');
  writeFileSync(tokenFile, cdn.token('operator'));
  return cdn.run(
    'externals',
    ...args,
    '--control-plane',
    cdn.controlPlaneUrl,
    '--token-file',
    tokenFile,
  );
}

function register(...over: readonly string[]): Promise<string> {
  return operator('add', 'akme', '--url', urlOf(EXTERNAL), '--cost', '1', ...over);
}

function startOrigin(name: string, at: typeof ORIGIN, stateDir: string): Promise<void> {
  return cdn.daemon(name, 'origin', {
    listen: at,
    admin: { address: at.address, port: PORT + 3 },
    stateDir,
    controlPlaneUrl: cdn.controlPlaneUrl,
    rootFingerprint: cdn.rootFingerprint,
  });
}

test('two boxes, an origin, and an external CDN that has a copy of everything', async () => {
  await cdn.startControlPlane(urlOf(ORIGIN));
  await cdn.site('one', 'FR', '198.51.100.0/24');
  const tokenFile = path.join(cdn.directory, 'publish.token');
  writeFileSync(tokenFile, cdn.token('publish'));
  await cdn.run(
    'publish',
    '--opaque',
    'titles=1;files=1x65536..65536;seed=3',
    '--control-plane',
    cdn.controlPlaneUrl,
    '--token-file',
    tokenFile,
    '--origin-dir',
    originDir,
  );
  const { titles } = await cdn.call<{ titles: { titleId: string }[] }>(
    'GET',
    `${cdn.controlPlaneUrl}/v1/titles`,
    'operator',
  );
  title = titles[0].titleId;
  cpSync(originDir, path.join(cdn.directory, 'akme'), { recursive: true });
  await startOrigin('akme', EXTERNAL, path.join(cdn.directory, 'akme'));
  await cdn.startSteering(1);
  await until('the title is known', async () => {
    const answer = await ask('first').catch(() => null);
    files = answer?.files.map(({ fileId }) => ({ fileId, sizeBytes: 65_536 })) ?? [];
    return files.length > 0;
  });
  const ids = files.map(({ fileId }) => fileId);
  a = await cdn.box('box-a', 'one', 1, ids);
  b = await cdn.box('box-b', 'one', 2, ids);
  await until('both serve, and the origin stands last', async () => {
    const ranked = await list();
    return ranked.length === 3 && ranked[2] === 'origin';
  });
});

test('it stands last in every list, behind every box, and in a region without boxes; elsewhere the origin does', async () => {
  await register('--region', 'FR,NO:0:1e9');
  await until('it is told', async () => (await list()).at(-1) === 'akme');
  assert.deepEqual((await list()).slice(0, 2).sort(), ['box-a', 'box-b']);
  assert.deepEqual((await list('s', 'NO', '203.0.113.9')).at(-1), 'akme', 'no box is in Norway');
  assert.deepEqual((await list('s', 'BR', '203.0.113.9')).at(-1), 'origin', 'no region names it');
});

test('a player that goes there gets the very bytes, by the token that our boxes take; without it none', async () => {
  const [file] = (await ask('viewer')).files;
  const last = file.urls.at(-1);
  assert.equal(last?.kind, 'external');
  const range = { range: 'bytes=1000-1999' };
  const answer = await fetch(last.url, { headers: range });
  assert.equal(answer.status, 206, await answer.clone().text());
  assert.equal(answer.headers.get('etag'), `"${file.fileId}"`);
  assert.equal((await answer.arrayBuffer()).byteLength, 1000);
  const bare = last.url.replace(/;URISigningPackage=[^/]+\//, '');
  assert.equal((await fetch(bare, { headers: range })).status, 403);
});

test('all boxes full: it is what they overflow to, until its cap is reached; then the origin', async () => {
  for (const box of [a, b]) box.egressBps = 990_000_000;
  const boxesFull = async (): Promise<boolean> => {
    const { appliances = [] } = await cdn.status(1);
    const reported = appliances as readonly { effectiveBps?: number }[];
    return reported.every(({ effectiveBps = 0 }) => effectiveBps >= 990_000_000);
  };
  await until('both are full', boxesFull);
  const overflowing = await list('overflow');
  assert.ok(overflowing[0].startsWith('box') && overflowing.at(-1) === 'akme', overflowing.join());
  // Sessions are booked there, for the full boxes before it refuse: one is more than this cap.
  await register('--region', 'FR:0:1000');
  await until('the cap is reached', async () => (await list('overflow')).at(-1) === 'origin');
  const full = await list('overflow');
  assert.equal(full.length, 3, 'full boxes are still named: nothing better serves');
  for (const box of [a, b]) box.egressBps = 0;
});

test('all boxes of the region down: viewers get the external CDN; when it is down as well, the origin', async () => {
  await register('--region', 'FR:0:100e9');
  await Promise.all([a.refuse(), b.refuse()]);
  a.close();
  b.close();
  await until('its clients are sent there', async () => (await list())[0] === 'akme');
  assert.deepEqual(await list(), ['akme', 'origin']);
  const [{ urls }] = (await ask('viewer-2')).files;
  const answer = await fetch(urls[0].url, { headers: { range: 'bytes=0-99' } });
  assert.equal(answer.status, 206);
  await cdn.kill('akme');
  await until('it is found dead', async () => (await list())[0] === 'origin');
  assert.deepEqual(await list(), ['origin']);
  await startOrigin('akme-again', EXTERNAL, path.join(cdn.directory, 'akme'));
  await until('it is taken back', async () => (await list())[0] === 'akme');
  assert.match(await operator('list'), /^akme .* 100 Gbit\/s at most/);
  await operator('remove', 'akme');
  await until('it is removed', async () => (await list())[0] === 'origin');
});
