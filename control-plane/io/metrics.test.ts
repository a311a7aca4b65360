import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { exampleListing } from './test-examples.ts';
import { Rig } from './test-rig.ts';

test('Prometheus reads the fleet, the catalogue and the process; an unknown figure is NaN', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b']));
  const box = await rig.box('box-1');
  await rig.box('box-2');
  await box.connect();
  await box.beat();
  const answer = await rig.call('GET', '/metrics', null);
  assert.equal(answer.status, 200);
  assert.match(String(answer.headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const text = answer.bytes.toString('utf8');
  for (const line of [
    'appliances{standing="serving"} 1',
    'appliances{standing="down"} 1',
    'heartbeat_connections 1',
    'catalogue_files 2',
    'catalogue_bytes 2000',
    'offload_ratio Nan',
  ]) {
    assert.ok(text.includes(`nightfill_control_plane_${line}\n`), `${line} in\n${text}`);
  }
  assert.match(text, /^process_cpu_seconds_total /m);
});

test('where the pages ask for a password, metrics ask for it or for the token of an operator', async (t) => {
  const passwordSha256 = createHash('sha256').update('correct horse').digest('base64url');
  const rig = await Rig.start(t, { pagesAuthentication: { user: 'ops', passwordSha256 } });
  assert.equal((await rig.call('GET', '/metrics', null)).status, 401);
  assert.equal((await rig.call('GET', '/metrics', 'steering')).status, 403);
  assert.equal((await rig.call('GET', '/metrics', 'operator')).status, 200);
});
