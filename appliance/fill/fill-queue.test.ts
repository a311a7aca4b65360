import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import type { FillSource } from '#control-plane/contract.ts';
import { orderAlone, rankAlone } from './alone.ts';
import { chooseStarts, ranked, type FillCandidate } from './fill-queue.ts';
import { NEW_FILL, stepFill } from './fill-machine.ts';
import { chooseOrder, paced, UNKNOWN_PACE, type SourcePace } from './source-choice.ts';

const source = (kind: FillSource['kind'], id: string): FillSource => ({
  kind,
  id,
  baseUrl: `http://${id}.test`,
  delayMs: 0,
});
const ORIGIN = source('origin', 'origin');

function candidate(
  fileId: string,
  density: number,
  holders: number,
  due: readonly FillSource[],
  isUrgent = false,
): FillCandidate {
  return { wanted: { fileId, sizeBytes: 1, titles: ['t'], density, isUrgent }, due, holders };
}

test('urgent first, then the most wanted, then the rarest; near, tier and origin do not stand in each other’s way', () => {
  const near = [source('peer', 'p'), source('tier', 't'), ORIGIN];
  const tier = [source('tier', 't'), ORIGIN];
  const files = [
    candidate('common', 8, 5, [ORIGIN]),
    candidate('rare', 9, 0, [ORIGIN]),
    candidate('less-wanted', 3, 0, [ORIGIN]),
    candidate('urgent', 1, 3, [ORIGIN], true),
    candidate('elsewhere', 2, 2, tier),
    candidate('here', 2, 1, near),
  ];
  const starts = (peerPlaces: number, tierPlaces: number, origin: number): readonly string[] =>
    chooseStarts(ranked(files), { peer: peerPlaces, tier: tierPlaces, origin }).starts.map(
      ({ wanted }) => wanted.fileId,
    );
  assert.deepEqual(starts(1, 1, 4), [
    'urgent',
    'rare',
    'common',
    'less-wanted',
    'here',
    'elsewhere',
  ]);
  assert.deepEqual(starts(4, 0, 2), ['urgent', 'rare', 'here']);
  assert.deepEqual(starts(0, 1, 1), ['urgent', 'elsewhere'], 'not behind what only the origin has');
  assert.deepEqual(starts(4, 4, 0), ['here', 'elsewhere']);
  assert.deepEqual(starts(0, 0, 0), []);
  const { rest } = chooseStarts(ranked(files), { peer: 1, tier: 0, origin: 2 });
  assert.deepEqual(
    rest.map(({ wanted }) => wanted.fileId),
    ['common', 'less-wanted', 'elsewhere'],
    'in their order, for the next place',
  );
});

test('of two sources that are drawn the faster one goes first, a slow one is found and passed over', () => {
  const peers = ['fast', 'slow', 'middle'].map((id) => source('peer', id));
  const paces = new Map<string, SourcePace>([
    ['fast', { bytesPerSecond: 100e6, underWay: 0 }],
    ['slow', { bytesPerSecond: 1e6, underWay: 0 }],
    ['middle', { bytesPerSecond: 50e6, underWay: 0 }],
  ]);
  const random = seededRandom(1);
  const firsts = { fast: 0, slow: 0, middle: 0 };
  for (let n = 0; n < 600; n++) {
    const order = chooseOrder([...peers, ORIGIN], (id) => paces.get(id) ?? UNKNOWN_PACE, random);
    firsts[order[0].id as 'fast']++;
    assert.equal(order.at(-1)?.id, 'origin', 'no kind overtakes another');
    assert.equal(order.length, 4);
  }
  assert.equal(firsts.slow, 0, 'the slowest of three is never the faster of two');
  assert.ok(firsts.fast > 350 && firsts.middle > 150, JSON.stringify(firsts));
  paces.set('fast', { bytesPerSecond: 100e6, underWay: 9 });
  const order = chooseOrder(peers.slice(0, 2), (id) => paces.get(id) ?? UNKNOWN_PACE, random);
  assert.equal(order[0].id, 'fast', 'a tenth of it is still more');
});

test('a speed is measured over runs that are long enough, and shared runs count as the source’s speed', () => {
  assert.equal(paced(UNKNOWN_PACE, 1000, 10).bytesPerSecond, null);
  const once = paced({ bytesPerSecond: null, underWay: 2 }, 10e6, 1000);
  assert.equal(once.bytesPerSecond, 20e6);
  const twice = paced({ ...once, underWay: 1 }, 1e6, 1000);
  assert.ok(twice.bytesPerSecond !== null && twice.bytesPerSecond < 20e6);
});

test('boxes that are left alone agree on who goes to the origin first', () => {
  const ids = ['a', 'b', 'c'];
  for (let n = 0; n < 50; n++) {
    const fileId = `file-${n}`;
    const delays = ids.map((self) => {
      const known = [...ids.filter((id) => id !== self).map((id) => source('peer', id)), ORIGIN];
      const ranked = rankAlone(orderAlone(self, fileId, known), 0);
      assert.deepEqual(
        ranked.slice(0, 2).map(({ delayMs }) => delayMs),
        [0, 0],
        'neighbours are asked at once',
      );
      return ranked.at(-1)?.delayMs ?? -1;
    });
    assert.deepEqual(
      delays.toSorted((one, other) => one - other),
      [0, 30 * 60_000, 60 * 60_000],
    );
  }
});

test('a box that is left alone asks four tiers at a time, and every one that it knows in turn', () => {
  const tiers = Array.from({ length: 14 }, (_, at) => source('tier', `t${at}`));
  const order = orderAlone('a', 'file', [...tiers, source('peer', 'b'), ORIGIN]);
  const asked = new Set<string>();
  for (let turn = 0; turn < 4; turn++) {
    const sources = rankAlone(order, turn);
    assert.deepEqual([sources[0].kind, sources.at(-1)?.kind], ['peer', 'origin']);
    const now = sources.filter(({ kind }) => kind === 'tier');
    assert.equal(now.length, 4);
    for (const { id } of now) asked.add(id);
  }
  assert.equal(asked.size, 14);
});

test('waiting for another box spends no attempt; failing eight times gives a file up', () => {
  let state = stepFill(NEW_FILL, { name: 'due' }, 0).state;
  let now = 0;
  for (let n = 0; n < 100; n++) {
    state = stepFill(state, { name: 'deferred', why: 'turn' }, now).state;
    assert.ok(state.name === 'waiting' && state.attempt === 0);
    now += 1000;
    state = stepFill(state, { name: 'due' }, now).state;
  }
  for (let n = 0; n < 8; n++) {
    assert.equal(state.name, 'fetching');
    state = stepFill(state, { name: 'failed', code: 'no-source' }, now).state;
    now += 60_000;
    if (state.name === 'waiting') state = stepFill(state, { name: 'due' }, now).state;
  }
  assert.equal(state.name, 'abandoned');
});

test('a file that nobody has is asked around for ever more rarely, and quickly again once some of it came', () => {
  let state = NEW_FILL;
  let now = 0;
  const pauses: number[] = [];
  for (let n = 0; n < 7; n++) {
    state = stepFill(state, { name: 'due' }, now).state;
    state = stepFill(state, { name: 'deferred', why: 'nobody-has-it' }, now).state;
    assert.ok(state.name === 'waiting');
    pauses.push((state.notBeforeMs - now) / 1000);
    now = state.notBeforeMs;
  }
  assert.deepEqual(pauses, [15, 30, 60, 120, 240, 240, 240]);
  state = stepFill(state, { name: 'due' }, now).state;
  state = stepFill(state, { name: 'progressed' }, now).state;
  state = stepFill(state, { name: 'deferred', why: 'nobody-has-it' }, now).state;
  assert.ok(state.name === 'waiting' && state.notBeforeMs - now === 15_000);
});
