import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import type { TitleListing } from '../contract.ts';
import { ReleaseGate, type ReleasePolicy } from './release-gate.ts';

function listing(releaseInMs: number | null): TitleListing {
  const at = new Date(Date.now() + (releaseInMs ?? 0)).toISOString();
  return {
    titleId: 'film',
    version: 1,
    kind: 'opaque',
    name: 'film',
    durationSeconds: 60,
    class: 'release',
    availability: [{ countries: ['*'] }],
    ...(releaseInMs === null ? {} : { release: { at, countries: ['*'], priority: 1 } }),
    files: [],
  };
}

test('a release is blocked before its time and while too few clusters hold it, by policy alone', async (t) => {
  let isLive = false;
  let asked = 0;
  const server = createServer((_request, answer) => {
    asked++;
    answer.end(JSON.stringify({ isLive, clustersLive: isLive ? 3 : 1, clustersWanted: 3 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const gate = (policy: ReleasePolicy, controlPlaneUrl = url): ReleaseGate =>
    new ReleaseGate({
      controlPlaneUrl,
      policy,
      clock: systemClock,
      log: createLogger('test', 'silent'),
    });
  assert.match((await gate('block').refusal(listing(60_000))) ?? '', /is released at/);
  assert.match((await gate('block').refusal(listing(-1000))) ?? '', /1 of the 3 clusters/);
  assert.equal(await gate('warn').refusal(listing(-1000)), null);
  const before = asked;
  assert.equal(await gate('off').refusal(listing(-1000)), null);
  assert.equal(await gate('block').refusal(listing(null)), null);
  assert.equal(await gate('block').refusal(listing(-2 * 24 * 3600 * 1000)), null);
  assert.equal(asked, before, 'nobody was asked');
  isLive = true;
  assert.equal(await gate('block').refusal(listing(-1000)), null);
  assert.equal(await gate('block', 'http://127.0.0.1:1').refusal(listing(-1000)), null);
});
