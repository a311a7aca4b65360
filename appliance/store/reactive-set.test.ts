import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { decideAdmission, type AdmissionFacts } from './admission.ts';
import { COLD, viewsPerDay, warmed, type Heat } from './heat.ts';
import { choosePlacement, type VolumeRoom } from './placement.ts';
import { ReactiveMemory } from './reactive-memory.ts';
import { ReactiveSet } from './reactive-set.ts';

const HOUR_MS = 3_600_000;

class Files {
  readonly heats = new Map<string, Heat>();
  readonly bytes = new Map<string, number>();
  readonly set = new ReactiveSet<string>({
    viewsPerDay: (key, nowMs, halfLifeMs) => viewsPerDay(this.heatOf(key), 0, nowMs, halfLifeMs),
    lastUsedMs: (key) => this.heatOf(key).atMs,
    bytes: (key) => this.bytes.get(key) ?? 1,
  });

  heatOf(key: string): Heat {
    return this.heats.get(key) ?? COLD;
  }

  view(key: string, nowMs: number, views = 1): void {
    this.heats.set(key, warmed(this.heatOf(key), views, nowMs, this.set.halfLifeMs));
    this.set.used(key, nowMs, views);
  }

  enter(key: string, nowMs: number, isOnTrial: boolean): void {
    this.set.enter(key, nowMs, isOnTrial);
    this.view(key, nowMs);
  }
}

test('first requests leave in the order in which they came, before what is wanted', () => {
  const files = new Files();
  files.enter('wanted', 0, false);
  for (const [at, key] of ['a', 'b', 'c'].entries()) files.enter(key, at, true);
  files.view('wanted', 5);
  for (const expected of ['a', 'b', 'c', 'wanted']) {
    const victim = files.set.victim(10, 0);
    assert.equal(victim, expected);
    files.set.left(expected, 10);
  }
  assert.equal(files.set.victim(10, 0), null);
  assert.equal(files.set.trialBytes, 0);
});

test('what is asked for again on trial stays when its turn comes; what is on trial within its room stays too', () => {
  const files = new Files();
  files.enter('once', 0, true);
  files.enter('twice', 1, true);
  files.enter('old', -HOUR_MS, false);
  files.view('twice', 2);
  assert.equal(files.set.victim(10, 2), 'old', 'two bytes may be on trial');
  assert.equal(files.set.victim(10, 1), 'once');
  files.set.left('once', 10);
  files.enter('next', 11, true);
  files.enter('after', 12, true);
  assert.equal(files.set.victim(13, 1), 'next', 'the one that was wanted again moved on');
  assert.equal(files.set.isOnTrial('twice'), false);
  assert.equal(files.set.trialBytes, 2);
});

test('one viewer who comes back for the rest of a film does not end its trial; a second viewer does', () => {
  const files = new Files();
  files.set.enter('film', 0, true);
  for (let part = 0; part < 10; part++) files.view('film', part, 0.1);
  assert.equal(files.set.victim(20, 0), 'film');
  files.view('film', 30, 0.6);
  files.enter('other', 31, true);
  assert.equal(files.set.victim(40, 0), 'other');
});

test('bytes on trial follow what their files hold', () => {
  const files = new Files();
  files.bytes.set('film', 10);
  files.set.enter('film', 0, true);
  files.bytes.set('film', 25);
  files.set.grew('film');
  assert.equal(files.set.trialBytes, 25);
  files.set.remove('film');
  assert.equal(files.set.trialBytes, 0);
});

test('heat is forgotten as fast as content turns over, never slower than in a day', () => {
  const fast = new Files();
  const slow = new Files();
  for (let at = 0; at < 1000; at++) {
    fast.set.left('x', fast.heatOf('x').atMs + 5 * 60_000);
    slow.set.left('x', slow.heatOf('x').atMs + 100 * HOUR_MS);
  }
  assert.equal(Math.round(fast.set.halfLifeMs / 60_000), 20);
  assert.equal(slow.set.halfLifeMs, 24 * HOUR_MS);
});

test('on a skewed load in which a third comes by once, the set has more hits than plain LRU', () => {
  const random = seededRandom(5);
  const files = new Files();
  const held = new Set<string>();
  const lru = new Map<string, true>();
  const hits = { set: 0, lru: 0 };
  for (let at = 0; at < 20_000; at++) {
    const isOnce = random.next() < 0.3;
    const key = isOnce ? `once ${at}` : `film ${Math.floor(500 ** random.next())}`;
    const nowMs = at * 1000;
    if (lru.delete(key)) hits.lru++;
    else if (lru.size >= 60) lru.delete(lru.keys().next().value!);
    lru.set(key, true);
    if (held.has(key)) {
      hits.set++;
      files.view(key, nowMs);
      continue;
    }
    while (held.size >= 60) {
      const victim = files.set.victim(nowMs, 6)!;
      files.set.left(victim, nowMs);
      held.delete(victim);
    }
    held.add(key);
    files.enter(key, nowMs, !files.heats.has(key));
  }
  assert.ok(hits.set > hits.lru * 1.05, `${hits.set} hits, LRU ${hits.lru}`);
});

const ADMISSION: AdmissionFacts = {
  isPinned: false,
  hasFreeRoom: false,
  hasTrialRoom: true,
  isSecondHit: false,
  viewsPerDay: 1,
  fillDensity: 0,
  victimViewsPerDay: 2,
};
const ADMISSIONS: readonly [what: string, facts: Partial<AdmissionFacts>, reason: string][] = [
  ['a planned file', { isPinned: true, victimViewsPerDay: null }, 'keep pinned'],
  ['a first hit with free room', { hasFreeRoom: true }, 'keep-on-trial free-room'],
  ['a first hit', {}, 'keep-on-trial trial-room'],
  ['a first hit without trial room', { hasTrialRoom: false }, 'pass first-hit'],
  ['a second hit', { isSecondHit: true, hasTrialRoom: false }, 'keep second-hit'],
  ['what would have been planned', { fillDensity: 0.5, viewsPerDay: 3 }, 'keep above-fill-density'],
  ['the same, colder than who would leave', { fillDensity: 0.5 }, 'keep-on-trial trial-room'],
  [
    'a volume of planned files only',
    { victimViewsPerDay: null, isSecondHit: true },
    'pass no-room',
  ],
];
for (const [what, facts, expected] of ADMISSIONS) {
  test(`${what}: ${expected}`, () => {
    const { verdict, reason } = decideAdmission({ ...ADMISSION, ...facts });
    assert.equal(`${verdict} ${reason}`, expected);
  });
}

test('memory knows a chunk that was passed on and a file that left, with its heat, once', () => {
  const memory = new ReactiveMemory<string>();
  assert.equal(memory.fetched('film', 0), false);
  assert.equal(memory.fetched('film', 0), true);
  assert.equal(memory.fetched('film', 1), false, 'another chunk');
  memory.left('old', { count: 3, atMs: 7 });
  assert.equal(memory.fetched('old', 9), true, 'any chunk of a file that left');
  assert.deepEqual(memory.takeBack('old'), { count: 3, atMs: 7 });
  assert.equal(memory.takeBack('old'), null);
});

const ROOM: VolumeRoom = {
  isUp: true,
  speed: 'fast',
  capacityBytes: 100,
  usedBytes: 50,
  evictableBytes: 0,
};
const PLACEMENTS: readonly [
  what: string,
  volumes: readonly Partial<VolumeRoom>[],
  views: number,
  at: number | 'no-room',
][] = [
  ['a hot file goes to the fast class', [{ speed: 'slow', usedBytes: 0 }, {}], 5, 1],
  ['a cold file goes to the slow class', [{ speed: 'slow' }, { usedBytes: 0 }], 0.1, 0],
  [
    'a hot file with the fast class full goes to the slow',
    [{ usedBytes: 99 }, { speed: 'slow' }],
    5,
    1,
  ],
  ['of one class, the emptiest', [{ usedBytes: 60 }, { usedBytes: 30 }, { usedBytes: 40 }], 5, 1],
  [
    'free room goes before room that others must leave',
    [{ usedBytes: 100, evictableBytes: 100 }, { usedBytes: 80 }],
    5,
    1,
  ],
  ['a volume that is out is passed over', [{ isUp: false, usedBytes: 0 }, { usedBytes: 80 }], 5, 1],
  ['nowhere', [{ usedBytes: 95 }, { isUp: false }], 5, 'no-room'],
];
for (const [what, volumes, views, at] of PLACEMENTS) {
  test(what, () => {
    const rooms = volumes.map((volume) => ({ ...ROOM, ...volume }));
    assert.equal(choosePlacement(rooms, 10, views), at);
  });
}
