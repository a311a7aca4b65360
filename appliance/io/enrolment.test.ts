import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { World } from './test-world.ts';

test('enrolment: a control plane whose root is another one is not believed', async () => {
  await using world = await World.open();
  const wrong = await world.controlPlane.enrolmentToken('box-1', 'A'.repeat(43));
  writeFileSync(path.join(world.directory, 'token'), wrong);
  await assert.rejects(world.start(), /is not the control plane that the enrolment token names/);
  assert.ok(!readdirSync(path.join(world.directory, 'state')).includes('identity.json'));
});

test('enrolment: a token of another box, no token, a state directory of another box: each is said clearly', async () => {
  await using world = await World.open();
  const file = path.join(world.directory, 'token');
  writeFileSync(file, await world.controlPlane.enrolmentToken('box-7'));
  await assert.rejects(world.start(), /is for appliance box-7, the configuration says box-1/);
  rmSync(file);
  await assert.rejects(world.start(), /not enrolled and its token file cannot be read/);
  writeFileSync(file, await world.controlPlane.enrolmentToken());
  const box = await world.start();
  assert.equal(statSync(path.join(world.directory, 'state', 'box.jwk')).mode & 0o777, 0o600);
  await box.stop();
  rmSync(file);
  await (await world.start()).stop(); // the token is not needed any more
  await assert.rejects(world.start({ applianceId: 'box-2' }), /belongs to appliance box-1/);
  writeFileSync(path.join(world.directory, 'state', 'format'), '99\n');
  await assert.rejects(world.start(), /written by format 99/);
  assert.ok(
    readFileSync(path.join(world.directory, 'state', 'identity.json'), 'utf8').includes('site-1'),
  );
});
