import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock, type Clock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { decidePlay } from '../answer.ts';
import { EXAMPLE_AT_MS, EXAMPLE_TITLE, exampleSnapshot, exampleWorld } from '../example-fleet.ts';
import { countOf } from '../holdings.ts';
import { DecisionLogFile } from './decision-log-file.ts';
import { FleetKeeper } from './fleet-keeper.ts';

const LOG = createLogger('steering', 'silent');

function directoryOf(context: TestContext): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-keeper-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Monotonic time moves by `stepMs` with each look at it. */
function steppingClock(stepMs: number): { readonly clock: Clock; ms: number } {
  const state = {
    ms: 0,
    clock: {
      ...systemClock,
      wallMs: () => EXAMPLE_AT_MS + 1000,
      monotonicMs: () => (state.ms += stepMs),
    },
  };
  return state;
}

function keeper(stateDir: string, clock: Clock, heldInTextMax?: number): FleetKeeper {
  return new FleetKeeper({
    stateDir,
    clock,
    log: LOG,
    onTaken: () => {},
    ...(heldInTextMax === undefined ? {} : { heldInTextMax }),
  });
}

test('a fleet whose boxes hold too much for a text is kept without what they hold: a start knows boxes and prefixes', async (context) => {
  const stateDir = directoryOf(context);
  const { clock } = steppingClock(1);
  for (const [most, held] of [
    [undefined, 3],
    [11, 0], // four boxes hold three files each
    [12, 3],
  ] as const) {
    const before = keeper(stateDir, clock, most);
    assert.equal(before.take(exampleSnapshot()), 'go-on');
    await before.stop();
    const after = keeper(stateDir, clock);
    after.load();
    const fleet = after.current;
    assert.ok(fleet !== null);
    assert.equal(fleet.prefixes.prefixes, 4);
    assert.deepEqual(
      fleet.appliances.map(({ holdings }) => countOf(holdings)),
      [held, held, held, held],
    );
    await after.stop();
  }
});

test('a snapshot that takes long to write is written seldom: a two hundredth of the time at most', async (context) => {
  const stateDir = directoryOf(context);
  const time = steppingClock(100); // writing seems to take 100 ms
  const one = keeper(stateDir, time.clock);
  const times: number[] = [];
  for (let version = 8; time.ms < 100_000; version++) {
    one.take(exampleSnapshot({ snapshot: { version } }));
    one.keep();
    if (readdirSync(stateDir).includes('snapshot')) {
      times.push(time.ms);
      rmSync(path.join(stateDir, 'snapshot'));
    }
  }
  assert.ok(times.length >= 4 && times.length <= 6, times.join());
  await one.stop();
});

test('decisions of a fleet too large for a log are counted as left out, and no file is begun', async (context) => {
  const directory = path.join(directoryOf(context), 'decisions');
  const options = {
    directory,
    fileBytesMax: 1e6,
    files: 2,
    perSecondMax: 10,
    clock: systemClock,
    log: LOG,
  };
  const world = exampleWorld();
  const request = { titleId: EXAMPLE_TITLE, clientAddress: '10.1.2.3', session: 's' };
  const large = new DecisionLogFile({ ...options, heldInTextMax: 11 });
  large.play(world, request, decidePlay(world, request));
  large.play(world, request, decidePlay(world, request));
  assert.deepEqual([large.written, large.leftOut], [0, 2]);
  await large.stop();
  const small = new DecisionLogFile(options);
  small.play(world, request, decidePlay(world, request));
  assert.deepEqual([small.written, small.leftOut], [1, 0]);
  await small.stop();
  assert.equal(readdirSync(directory).length, 1);
});
