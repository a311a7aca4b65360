import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rig } from './test-rig.ts';

test('a box’s minute of path quality is taken in once, under its own cluster; a stranger’s is not read', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  const minute = Math.floor(Date.now() / 60_000) * 60 - 60;
  const aggregates = [{ prefix: '192.0.2.0/24', firstByteMs: [0, 3], rateKbps: [], errors: 1 }];
  const send = async (body: unknown): Promise<unknown> => {
    const answer = await box.post('/v1/path-quality', body);
    return answer.status === 200 ? answer.body['result'] : answer.status;
  };
  assert.equal(await send({ minute, aggregates }), 'taken');
  assert.equal(await send({ minute, aggregates }), 'again');
  assert.equal(await send({ minute: minute - 7200, aggregates }), 'not-of-now');
  assert.equal(await send({ minute, aggregates: [{ prefix: '192.0.2.7/32' }] }), 400);
  const { paths } = rig.controlPlane.plane;
  assert.equal(paths.fold(Date.now() / 1000), true);
  const { clusterId } = rig.controlPlane.plane.fleet.box('box-1')!.record;
  assert.deepEqual(paths.entries, [{ ...aggregates[0], clusterId }]);
  box.bearer = 'nobody';
  assert.equal(await send({ minute, aggregates }), 401);
});
