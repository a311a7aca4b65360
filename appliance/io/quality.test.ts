import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, FakeSource, get, makeFile, until, World } from './test-world.ts';

const FILM = makeFile(61, 2 * CHUNK_BYTES);
const RANGE = { range: 'bytes=0-99' };

test('what a player says of itself is counted, and decides nothing: the same token, the same file, one target', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  const url = await world.url('film', FILM.fileId);
  const said = ['bl=20000,br=3000,mtp=25000', 'bl=0,br=3000,bs,mtp=900', 'garbage,,="%', ''];
  for (const text of said) {
    const got = await get(`${url}?CMCD=${encodeURIComponent(text)}`, RANGE);
    assert.equal(got.status, 206, text);
    assert.ok(got.body.equals(FILM.content.subarray(0, 100)));
  }
  assert.equal(
    (await get(`${url}?CMCD=${'x'.repeat(4000)}`, RANGE)).status,
    206,
    'too long to read',
  );
  const stranger = `${world.contentUrl}/t/film/${FILM.fileId}?CMCD=bs%2Cbr%3D1`;
  assert.equal((await get(stranger)).status, 403, 'and is not counted');
  const metrics = (await get(`${world.adminUrl}/metrics`)).body.toString();
  assert.match(metrics, /nightfill_appliance_cmcd_requests_total 4/);
  assert.match(metrics, /nightfill_appliance_cmcd_starved_total 1/);
  assert.match(metrics, /nightfill_appliance_cmcd_bitrate_kbps_sum 6000/);
  assert.match(metrics, /nightfill_appliance_cmcd_throughput_kbps_bucket\{le="1024"\} 1/);
  assert.match(metrics, /nightfill_appliance_cmcd_buffer_ms_count 2/);
  assert.match(metrics, /nightfill_appliance_admitted_share 1/);
});

test('Server-Timing says what a request waited for, and nothing where it did not wait', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.list('film', [FILM]);
  await world.start();
  const url = await world.url('film', FILM.fileId);
  const miss = String((await get(url, RANGE)).headers['server-timing']);
  assert.match(miss, /cache;desc=miss/);
  assert.match(miss, /tok;dur=\d+\.\d/);
  assert.match(miss, /list;dur=\d+\.\d/);
  assert.match(miss, /src;dur=\d+\.\d/);
  await until(() => world.box!.store.find(FILM.fileId)?.has(0) === true, 'kept');
  await get(url, RANGE); // opens the file
  assert.equal((await get(url, RANGE)).headers['server-timing'], 'cache;desc=hit');
});

test('a class of titles may be refused on a miss while others are fetched', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.list('film', [FILM]); // class catalogue
  await world.start({ miss: { onMissByClass: { catalogue: 'refuse' } } });
  const refused = await get(await world.url('film', FILM.fileId), RANGE);
  assert.equal(refused.status, 404);
  assert.match(String(refused.headers['proxy-status']), /error=destination_not_found/);
  assert.deepEqual(world.origin.requests, [], 'nothing is fetched');
  await world.box!.stop();
  await world.start({ miss: { onMiss: 'refuse', onMissByClass: { catalogue: 'fetch' } } });
  assert.equal((await get(await world.url('film', FILM.fileId), RANGE)).status, 206);
});

test('when every first source fails, viewers’ fetches are tried again only within the budget', async () => {
  await using world = await World.open();
  const files = Array.from({ length: 40 }, (_, at) => makeFile(100 + at, 1000));
  const bad = await new FakeSource().start();
  bad.misbehaviour = 'closes';
  bad.add(...files);
  world.origin.add(...files);
  world.controlPlane.sources = [bad.as('peer', 'box-2'), world.origin.as('origin', 'origin')];
  await world.controlPlane.list('film', files);
  await world.start({ miss: { retryShare: 0 } });
  const statuses: number[] = [];
  for (const file of files) {
    statuses.push((await get(await world.url('film', file.fileId))).status);
  }
  await bad.stop();
  const served = statuses.filter((status) => status === 200).length;
  assert.equal(served, 20, 'the reserve');
  assert.ok(
    statuses.slice(20).every((status) => status === 404),
    statuses.join(' '),
  );
});
