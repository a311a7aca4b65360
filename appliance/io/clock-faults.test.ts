/**
 * The wall clock jumps by a year either way: in a fill window, across a billing month, across a boot. (In a session: faults.test.ts.)
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FillStatus } from '#appliance/contract.ts';
import { systemClock, type Clock } from '#base/clock.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, get, makeFile, until, World } from './test-world.ts';

const YEAR_MS = 365 * 86_400_000;
const MONTHLY = { budget: { percentile95BpsMax: 8_000_000_000, billingDay: 1 } };

/** The machine's clock, with a wall clock that somebody may move. */
function movable(offMs = 0): Clock & { offMs: number } {
  const clock = { ...systemClock, offMs, wallMs: (): number => systemClock.wallMs() + clock.offMs };
  return clock;
}

async function fillOf(world: World): Promise<FillStatus> {
  const answer = await get(`${world.adminUrl}/fill`, world.adminHeaders, 'POST');
  assert.equal(answer.status, 200, answer.body.toString());
  return JSON.parse(answer.body.toString()) as FillStatus;
}

for (const [name, jumpMs] of [
  ['ahead', YEAR_MS],
  ['back', -YEAR_MS],
] as const) {
  test(`a wall clock that jumps a year ${name} moves no fill window and no billing month`, async () => {
    await using world = await World.open();
    const films = [makeFile(81, CHUNK_BYTES + 5), makeFile(82, CHUNK_BYTES + 6)];
    const entries = films.map((film) => entryOf(film, 'film'));
    world.origin.add(...films);
    await world.controlPlane.plan(1, entries.slice(0, 1));
    const clock = movable();
    const box = await world.start({ fill: MONTHLY }, clock);
    await until(() => box.store.holdings.count === 1, 'the first is held');
    await until(() => box.status().heartbeat !== null, 'a heartbeat');
    const before = (await fillOf(world)).budget.month;
    assert.ok(before !== null && before.startMs <= Date.now() && Date.now() < before.endMs);

    clock.offMs = jumpMs;
    // Open before the jump, open after it: the fill goes on.
    await world.controlPlane.plan(2, entries);
    await until(() => box.store.holdings.count === 2, 'the second is held too');
    const after = (await fillOf(world)).budget.month;
    assert.deepEqual([after?.startMs, after?.endMs], [before.startMs, before.endMs]);
    assert.ok(after!.billedBps >= before.billedBps, 'what was sent this month stays sent');

    // The window ends at its time by the control plane's clock, whatever the wall says.
    world.controlPlane.isWindowOpen = false;
    const told = world.controlPlane.heartbeats.length + 2;
    await until(() => world.controlPlane.heartbeats.length >= told, 'the window closes');
    const late = makeFile(83, CHUNK_BYTES);
    world.origin.add(late);
    await world.controlPlane.plan(3, [...entries, entryOf(late, 'film')]);
    await until(
      () => world.controlPlane.heartbeats.at(-1)?.fill.waitingFor === 'window',
      'it waits for the next window',
    );
    clock.offMs = -jumpMs;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal(box.store.holdings.count, 2, 'a jump opens no window');
  });
}

test('a boot with a wall clock a year back and no control plane: the kept time holds, sessions go on, and it is said', async () => {
  await using world = await World.open();
  const film = makeFile(84, 5000);
  world.origin.add(film);
  await world.controlPlane.plan(1, [entryOf(film, 'film')]);
  const first = await world.start({ fill: MONTHLY });
  await until(() => first.store.holdings.count === 1, 'held');
  await until(() => first.status().heartbeat !== null, 'signed time');
  const token = await world.url('film', film.fileId);
  const month = (await fillOf(world)).budget.month;
  await first.stop();
  await world.controlPlane.stop();

  const second = await world.start({ fill: MONTHLY }, movable(-YEAR_MS));
  const path = new URL(token);
  path.port = String(second.content.port);
  assert.equal((await get(path.href)).status, 200, 'not before its time');
  assert.ok(Math.abs(second.status().atMs - Date.now()) < 60_000, 'the kept time');
  assert.deepEqual((await fillOf(world)).budget.month?.startMs, month?.startMs);
});

test('a boot with a wall clock a year ahead: the later of the two is used until the control plane is heard, then all is well', async () => {
  await using world = await World.open();
  const film = makeFile(85, 5000);
  world.origin.add(film);
  await world.controlPlane.plan(1, [entryOf(film, 'film')]);
  const first = await world.start();
  await until(() => first.store.holdings.count === 1, 'held');
  await first.stop();

  const clock = movable(YEAR_MS);
  const second = await world.start({}, clock);
  await until(
    () =>
      world.controlPlane.heartbeats
        .at(-1)
        ?.health.reasons.some((why) => /wall clock is \d+ s fast/.test(why)) === true,
    'signed time again, and the wall clock is reported',
  );
  assert.ok(Math.abs(second.status().atMs - Date.now()) < 60_000);
  assert.equal((await get(await world.url('film', film.fileId))).status, 200);
});
