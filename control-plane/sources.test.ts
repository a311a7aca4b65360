import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import {
  decisiveCandidates,
  firstHolders,
  neighboursOf,
  NO_ESCALATION,
  PEERS_MAX,
  rankSources,
  TIERS_MAX,
  type EscalationPolicy,
  type SourceBox,
} from './sources.ts';

const ORIGIN = 'http://origin.test';
const FILE = 'f'.repeat(43);

function box(applianceId: string, siteId: string, clusterId: string, country = 'FR'): SourceBox {
  return { applianceId, siteId, clusterId, country, baseUrl: `http://${applianceId}.test` };
}

const asker = box('me', 'paris', 'paris-a');

test('same cluster, then same site, then another site of the country, then abroad, then the origin', () => {
  const holders = [
    box('abroad', 'london', 'london-a', 'GB'),
    box('other-site', 'lyon', 'lyon-a'),
    box('same-site', 'paris', 'paris-b'),
    box('same-cluster', 'paris', 'paris-a'),
    asker,
  ];
  const sources = rankSources(asker, FILE, holders, ORIGIN, [], NO_ESCALATION);
  assert.deepEqual(
    sources.map(({ kind, id }) => [kind, id]),
    [
      ['peer', 'same-cluster'],
      ['peer', 'same-site'],
      ['tier', 'other-site'],
      ['tier', 'abroad'],
      ['origin', 'origin'],
    ],
  );
  assert.ok(sources.every(({ delayMs }) => delayMs === 0));
});

test('a file that nobody holds comes from the origin', () => {
  assert.deepEqual(rankSources(asker, FILE, [], ORIGIN, [], NO_ESCALATION), [
    { kind: 'origin', id: 'origin', baseUrl: ORIGIN, delayMs: 0 },
  ]);
});

test('many holders give a bounded list that keeps the origin', () => {
  const holders = Array.from({ length: 100 }, (_, n) =>
    box(`box-${n}`, n % 2 === 0 ? 'paris' : 'lyon', 'x'),
  );
  const sources = rankSources(asker, FILE, holders, ORIGIN, [], NO_ESCALATION);
  assert.equal(sources.length, PEERS_MAX + TIERS_MAX + 1);
  assert.equal(sources.at(-1)?.kind, 'origin');
});

test('equal peers share the files among them, and the order does not depend on how they are listed', () => {
  const holders = ['a', 'b', 'c', 'd'].map((id) => box(id, 'paris', 'paris-a'));
  const firsts = new Map<string, number>();
  for (let n = 0; n < 400; n++) {
    const fileId = createHash('sha256').update(`file ${n}`).digest('base64url');
    const sources = rankSources(asker, fileId, holders, ORIGIN, [], NO_ESCALATION);
    assert.deepEqual(
      rankSources(asker, fileId, holders.toReversed(), ORIGIN, [], NO_ESCALATION),
      sources,
    );
    firsts.set(sources[0].id, (firsts.get(sources[0].id) ?? 0) + 1);
  }
  for (const [id, count] of firsts) assert.ok(count > 60 && count < 140, `${id}: ${count}`);
  assert.equal(firsts.size, 4);
});

const POLICY: EscalationPolicy = {
  fillMasters: 1,
  tier: { allowed: true, delayMs: 100 },
  network: { allowed: true, delayMs: 200 },
  origin: { allowed: true, delayMs: 1000 },
};

function originDelay(me: SourceBox, candidates: readonly SourceBox[], fileId = FILE): number {
  return rankSources(me, fileId, [], ORIGIN, candidates, POLICY).at(-1)?.delayMs ?? -1;
}

test('one box of the fleet goes to the origin at once, one of the other site after the tier delay, the rest wait longer', () => {
  const fleet = ['a', 'b', 'c'].flatMap((id) => [
    box(`paris-${id}`, 'paris', 'paris-a'),
    box(`lyon-${id}`, 'lyon', 'lyon-a'),
  ]);
  const firsts = new Map<string, number>();
  for (let n = 0; n < 600; n++) {
    const fileId = createHash('sha256').update(`file ${n}`).digest('base64url');
    const delays = fleet.map((me) => originDelay(me, fleet, fileId));
    assert.deepEqual(
      delays.toSorted((a, b) => a - b),
      [0, 100, 1000, 1000, 1100, 1100],
    );
    const first = fleet[delays.indexOf(0)].applianceId;
    firsts.set(first, (firsts.get(first) ?? 0) + 1);
  }
  assert.equal(firsts.size, 6);
  for (const [id, count] of firsts) assert.ok(count > 60 && count < 140, `${id}: ${count}`);
});

test('a file that is planned on one box only is not put off, and the delay ends with the master', () => {
  const fleet = ['a', 'b'].map((id) => box(id, 'paris', 'paris-a'));
  assert.equal(originDelay(fleet[0], [fleet[0]]), 0);
  const waiting = fleet.find((me) => originDelay(me, fleet) > 0);
  assert.ok(waiting !== undefined);
  assert.equal(originDelay(waiting, [waiting]), 0, 'the other one died');
});

test('far sources are put off for all but masters, and left out where they are not allowed', () => {
  const fleet = ['a', 'b'].map((id) => box(id, 'paris', 'paris-a'));
  const far = [box('far', 'lyon', 'lyon-a'), box('abroad', 'london', 'london-a', 'GB')];
  const delaysOf = (me: SourceBox, policy: EscalationPolicy): readonly number[] =>
    rankSources(me, FILE, far, ORIGIN, fleet, policy).map(({ delayMs }) => delayMs);
  const answers = fleet.map((me) => delaysOf(me, POLICY)).toSorted((a, b) => a[0] - b[0]);
  assert.deepEqual(answers, [
    [0, 0, 0],
    [100, 200, 1000],
  ]);
  const closed = { allowed: false, delayMs: 0 };
  const near = { ...POLICY, network: closed, origin: { allowed: false, delayMs: 1000 } };
  const kinds = fleet.map((me) =>
    rankSources(me, FILE, far, ORIGIN, fleet, near).map(({ id }) => id),
  );
  assert.deepEqual(
    kinds.toSorted((a, b) => a.length - b.length),
    [['far'], ['far', 'origin']],
    'a master keeps the origin: without it nobody would have the file',
  );
});

test('the few candidates that decide and the first holders of each country give every asker the ranking of all of them', () => {
  const random = seededRandom(5);
  const countries = ['FR', 'GB', 'DE'];
  for (let n = 0; n < 200; n++) {
    const fleet = Array.from({ length: 40 }, (_, at) => {
      const site = `s${random.below(12)}`;
      return box(`box-${at}`, site, site, countries[Number(site.slice(1)) % 3]);
    });
    const fileId = createHash('sha256').update(`file ${n}`).digest('base64url');
    const holders = fleet.filter(() => random.next() < 0.4);
    const candidates = fleet.map(({ applianceId, siteId }) => {
      return { applianceId, siteId, isMoving: random.next() < 0.5 };
    });
    const few = decisiveCandidates(fileId, candidates);
    assert.ok(few.length <= 4);
    const policy = { ...POLICY, patienceMs: 5000, fillMasters: 1 + random.below(2) };
    for (const me of fleet) {
      const isOwn = ({ siteId }: { readonly siteId: string }): boolean => siteId === me.siteId;
      const all = rankSources(me, fileId, holders, ORIGIN, candidates, policy);
      const near = holders.filter(isOwn);
      const far = countries.flatMap((country) =>
        firstHolders(
          fileId,
          holders.filter((place) => place.country === country),
        ),
      );
      const digest = rankSources(
        me,
        fileId,
        [...near, ...far.filter((place) => !isOwn(place))],
        ORIGIN,
        [...candidates.filter(isOwn), ...few.filter((candidate) => !isOwn(candidate))],
        policy,
      );
      assert.deepEqual(digest, all);
    }
  }
});

test('a site remembers its own boxes, most of its tiers at home and some abroad, as many as there are', () => {
  const fleet = (home: number, abroad: number): SourceBox[] => [
    box('paris-1', 'paris', 'paris'),
    ...Array.from({ length: home }, (_, at) => box(`fr-${at}`, `fr-${at}`, `fr-${at}`)),
    ...Array.from({ length: abroad }, (_, at) => box(`gb-${at}`, `gb-${at}`, `gb-${at}`, 'GB')),
  ];
  const counts = (home: number, abroad: number): readonly number[] => {
    const neighbours = neighboursOf('paris', fleet(home, abroad));
    const tiers = neighbours.filter(({ kind }) => kind === 'tier');
    assert.equal(neighbours.length - tiers.length, 1, 'its own');
    return ['fr', 'gb'].map((name) => tiers.filter(({ id }) => id.startsWith(name)).length);
  };
  assert.deepEqual(counts(50, 50), [12, 4]);
  assert.deepEqual(counts(50, 1), [15, 1]);
  assert.deepEqual(counts(3, 50), [3, 13]);
  assert.deepEqual(counts(0, 0), [0, 0]);
});
