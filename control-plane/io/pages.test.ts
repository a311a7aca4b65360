import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { request } from 'undici';
import { withDefaults } from '#base/config.ts';
import { configRelations, ControlPlaneConfigSchema } from '../config.ts';
import type { FleetView } from '../dashboard/fleet-view.ts';
import { exampleHeartbeat, exampleListing } from './test-examples.ts';
import { Rig, until } from './test-rig.ts';

test('the pages and what they load are served, and nothing else of the disk', async (t) => {
  const rig = await Rig.start(t);
  const cases = [
    ['/', 200, /text\/html/],
    ['/watch', 200, /text\/html/],
    ['/assets/page.css', 200, /text\/css/],
    ['/vendor/hls.min.js', 200, /javascript/],
    ['/vendor/uPlot.iife.min.js', 200, /javascript/],
    ['/vendor/uPlot.min.css', 200, /text\/css/],
    ['/assets/../../../package.json', 404, /json/],
    ['/assets/%2e%2e/%2e%2e/fleet-view.ts', 404, /json/],
    ['/vendor/package.json', 404, /json/],
    ['/index.html', 404, /json/],
  ] as const;
  for (const [route, status, type] of cases) {
    const answer = await rig.call('GET', route, null);
    assert.equal(answer.status, status, route);
    assert.match(String(answer.headers['content-type']), type, route);
    if (status === 200) assert.equal(answer.headers['cache-control'], 'no-cache', route);
  }
  await rig.publish(exampleListing('opaque-1', ['a']));
  await rig.publish(exampleListing('film-1', ['b'], { kind: 'film' }));
  const { body } = await rig.call('GET', '/watch/config.json', null);
  assert.equal(body['playbackUrl'], 'http://127.0.0.1:7002');
  const titles = body['titles'] as { titleId: string }[];
  assert.deepEqual(
    titles.map(({ titleId }) => titleId),
    ['film-1'],
    'only what a player can play',
  );
});

test('an address other than loopback without a password is refused before anything starts', () => {
  const config = {
    listen: { address: '0.0.0.0', port: 8080 },
    publicUrl: 'http://control.test',
    stateDir: 'state',
    keysDir: 'keys',
    serviceTokens: [],
    origin: { baseUrl: 'http://origin.test', adminUrl: 'http://127.0.0.1:1' },
    playbackUrl: 'http://playback.test',
    steeringUrl: 'http://steering.test',
    planning: {},
  };
  const relationsOf = (value: object): readonly string[] => {
    const checked = withDefaults(ControlPlaneConfigSchema, value);
    assert.ok(checked.ok, JSON.stringify(checked));
    return configRelations(checked.value);
  };
  assert.match(relationsOf(config)[0], /0\.0\.0\.0 is reachable .* set pagesAuthentication/);
  const pagesAuthentication = { user: 'ops', passwordSha256: 'A'.repeat(43) };
  assert.deepEqual(relationsOf({ ...config, pagesAuthentication }), []);
  const loopback = { address: '127.0.0.1', port: 8080 };
  assert.deepEqual(relationsOf({ ...config, listen: loopback }), []);
  const unknown = withDefaults(ControlPlaneConfigSchema, { ...config, colour: 'red' });
  assert.equal(unknown.ok, false);
});

test('with a password configured, the pages and the view ask for it and the services do not', async (t) => {
  const passwordSha256 = createHash('sha256').update('correct horse').digest('base64url');
  const rig = await Rig.start(t, { pagesAuthentication: { user: 'ops', passwordSha256 } });
  const basic = (text: string): Record<string, string> => ({
    authorization: `Basic ${Buffer.from(text).toString('base64')}`,
  });
  for (const route of ['/', '/watch', '/assets/page.css', '/v1/fleet/view', '/watch/config.json']) {
    const refused = await rig.call('GET', route, null);
    assert.equal(refused.status, 401, route);
    assert.match(String(refused.headers['www-authenticate']), /^Basic/);
    const wrong = await rig.call('GET', route, null, undefined, basic('ops:guess'));
    assert.equal(wrong.status, 401, route);
    const right = await rig.call('GET', route, null, undefined, basic('ops:correct horse'));
    assert.equal(right.status, 200, route);
  }
  assert.equal((await rig.call('GET', '/v1/keys', null)).status, 200);
});

test('the view shows each box with its standing and age, the origin, and offload from what was counted', async (t) => {
  const counters = { serveBytes: 1000, fillBytes: 0, viewerBytes: 400, requests: 3 };
  const origin = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(counters));
  });
  await new Promise<void>((resolve) => {
    origin.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    origin.close();
    origin.closeAllConnections();
  });
  const { port } = origin.address() as AddressInfo;
  const adminUrl = `http://127.0.0.1:${port}`;
  const rig = await Rig.start(t, { origin: { baseUrl: 'http://127.0.0.1:7001', adminUrl } });
  await rig.putSite();
  const box = await rig.box('box-1');
  await box.connect();
  const example = exampleHeartbeat(box.bootId, 1);
  await box.beat();
  const steering = await rig.follow();
  const view = async (): Promise<FleetView> =>
    (await rig.call('GET', '/v1/fleet/view', null)).body as unknown as FleetView;
  const first = await view();
  assert.equal(first.sites[0].appliances[0].standing, 'serving');
  assert.ok(first.sites[0].appliances[0].heartbeatAgeMs !== null);
  assert.equal(first.sites[0].fillWindow.open, true);
  assert.equal(first.steering.connections, 1);
  assert.equal(first.cdn.offloadShare, null, 'no viewer byte was seen yet');
  assert.equal(first.plan, null);
  steering.close();
  // 9,000 bytes by the box, 1,000 by the origin: offload is 90 %.
  await box.beat({ counters: { ...example.counters, viewerBytes: 9000 } });
  counters.serveBytes += 1000;
  counters.viewerBytes += 1000;
  const { traffic, clock } = rig.controlPlane.plane;
  const figures = (): ReturnType<typeof traffic.figures> => traffic.figures(clock.wallMs() + 5000);
  await until('the origin to be asked again', () => (figures().offloadShare ?? 1) < 1);
  const share = figures().offloadShare;
  assert.ok(share !== null && Math.abs(share - 0.9) < 1e-9, String(share));
  assert.equal((await view()).origin.status, 'up');
});

test('the live view is a stream of views, and it ends when the reader leaves', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const abort = new AbortController();
  const answer = await request(`${rig.url}/v1/fleet/live`, {
    signal: abort.signal,
    bodyTimeout: 0,
  });
  assert.match(String(answer.headers['content-type']), /event-stream/);
  let text = '';
  const views: FleetView[] = [];
  const reading = (async () => {
    for await (const part of answer.body as AsyncIterable<Buffer>) {
      text += part.toString('utf8');
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        if (event.startsWith('data: ')) views.push(JSON.parse(event.slice(6)) as FleetView);
      }
    }
  })().catch(() => undefined);
  await until('two views', () => views.length >= 2);
  assert.ok(views[1].atMs > views[0].atMs);
  assert.equal(views[0].sites[0].siteId, 'paris');
  abort.abort();
  await reading;
});
