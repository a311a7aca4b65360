import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { seededRandom } from '#base/random.ts';
import { decidePlay, expectedLoad, pathwayOf, type PlayDecision } from './answer.ts';
import { createWorld, judge, type World } from './candidates.ts';
import {
  EXAMPLE_AT_MS,
  EXAMPLE_FILES,
  EXAMPLE_TITLE,
  exampleSnapshot,
  exampleWorld,
} from './example-fleet.ts';
import { createFleet } from './fleet.ts';
import { LoadLedger } from './load.ts';

fc.configureGlobal({ seed: 20_261_120 });

const LYON = '10.1.2.3';

function play(world: World, ask: Partial<Parameters<typeof decidePlay>[1]> = {}): PlayDecision {
  const decision = decidePlay(world, {
    titleId: EXAMPLE_TITLE,
    fileIds: [EXAMPLE_FILES[0]],
    clientAddress: LYON,
    session: 's1',
    ...ask,
  });
  assert.ok(decision.kind === 'play');
  return decision;
}

function pathways(decision: PlayDecision, file = 0): readonly string[] {
  return decision.files[file].ranking.candidates.map(pathwayOf);
}

function why(decision: PlayDecision, applianceId: string): string | undefined {
  return decision.files[0].ranking.passedOver.find((one) => one.applianceId === applianceId)?.why;
}

test('home boxes come first, then another site of the country, then the origin, all boxes distinct', () => {
  const decision = play(exampleWorld());
  const [first, second, third, last] = pathways(decision);
  assert.deepEqual([first, second].sort(), ['lyon-a', 'lyon-b']);
  assert.deepEqual([third, last], ['paris-a', 'origin']);
  assert.equal(decision.home, 'lyon-1');
  assert.deepEqual(decision.reasons, ['home']);
  assert.equal(why(decision, 'oslo-a'), 'not-needed');
});

test('the same four epochs and the same request give the same answer, a new world notwithstanding', () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme-ascii' }),
      fc.constantFrom('10.1.0.9', '10.2.0.9', '10.3.7.7', '192.0.2.1', '2001:db8:1::5'),
      fc.array(fc.nat(3e8), { minLength: 4, maxLength: 4 }),
      (session, clientAddress, egress) => {
        const ids = ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a'];
        const make = (): World =>
          exampleWorld({
            appliances: Object.fromEntries(ids.map((id, at) => [id, { egressBps: egress[at] }])),
            holdings: { 'lyon-a': [0], 'paris-a': [1, 2] },
          });
        const ask = { clientAddress, session, fileIds: [...EXAMPLE_FILES] };
        const [one, other] = [play(make(), ask), play(make(), ask)];
        assert.deepEqual(one.epochs, other.epochs);
        assert.deepEqual(
          one.files.map(({ ranking }) => [ranking.candidates.map(pathwayOf), ranking.reason]),
          other.files.map(({ ranking }) => [ranking.candidates.map(pathwayOf), ranking.reason]),
        );
        assert.deepEqual(one.session, other.session);
      },
    ),
  );
});

test('files asked for together are ranked as each by itself', () => {
  const ids = ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a'];
  const files = Array.from({ length: 12 }, (_, at) => `f${at}`.padEnd(43, '_'));
  const some = fc.uniqueArray(fc.nat(files.length - 1));
  const all = fc.constant(files.map((_, at) => at));
  fc.assert(
    fc.property(
      fc.array(fc.oneof(all, fc.constant<number[]>([]), some), { minLength: 4, maxLength: 4 }),
      fc.array(fc.constantFrom(1, 0.4, 0), { minLength: 4, maxLength: 4 }),
      fc.array(fc.constantFrom('serving', 'serving', 'draining'), { minLength: 4, maxLength: 4 }),
      fc.constantFrom('10.1.0.9', '10.2.0.9', '10.3.7.7', '192.0.2.1'),
      fc.nat(1000),
      (held, admits, standings, clientAddress, session) => {
        const world = exampleWorld({
          holdings: Object.fromEntries(ids.map((id, at) => [id, held[at]])),
          appliances: Object.fromEntries(
            ids.map((id, at) => [id, { admit: admits[at], standing: standings[at] as 'serving' }]),
          ),
          snapshot: {
            titles: [
              {
                titleId: EXAMPLE_TITLE,
                availability: [{ countries: ['*'] }],
                durationSeconds: 100,
                files: files.map((fileId, ordinal) => ({ fileId, ordinal, sizeBytes: 1 })),
              },
            ],
          },
        });
        const ask = { clientAddress, session: `s${session}` };
        const together = play(world, { ...ask, fileIds: files });
        const told = ({ ranking }: PlayDecision['files'][number]): unknown => {
          return { pathways: ranking.candidates.map(pathwayOf), reason: ranking.reason };
        };
        for (const [at, fileId] of files.entries()) {
          const alone = play(world, { ...ask, fileIds: [fileId] });
          assert.deepEqual(told(together.files[at]), told(alone.files[0]), `file ${at}`);
        }
      },
    ),
    { numRuns: 400 },
  );
});

test('why a client goes elsewhere: table of reasons', () => {
  const nobodyHome = { 'lyon-a': [], 'lyon-b': [] };
  const dead = { 'lyon-a': 'unreachable', 'lyon-b': 'unreachable' } as const;
  const cases: readonly [
    string,
    World,
    Partial<Parameters<typeof decidePlay>[1]>,
    string,
    string,
  ][] = [
    ['all is well', exampleWorld(), {}, 'home', 'lyon'],
    ['home lacks the file', exampleWorld({ holdings: nobodyHome }), {}, 'content', 'paris'],
    ['home is dead', exampleWorld({}, dead), {}, 'health', 'paris'],
    [
      'home drains',
      exampleWorld({
        appliances: { 'lyon-a': { standing: 'draining' }, 'lyon-b': { standing: 'draining' } },
      }),
      {},
      'health',
      'paris',
    ],
    [
      'home is full',
      exampleWorld({
        appliances: { 'lyon-a': { egressBps: 1e9 }, 'lyon-b': { egressBps: 0.99e9 } },
      }),
      {},
      'health',
      'paris',
    ],
    ['no prefix covers the client', exampleWorld(), { clientAddress: '192.0.2.1' }, 'other', ''],
    [
      'nobody has the file: home fetches it',
      exampleWorld({ holdings: { ...nobodyHome, 'paris-a': [], 'oslo-a': [] } }),
      {},
      'home',
      'lyon',
    ],
    [
      'everything is dead: the origin',
      exampleWorld({}, { ...dead, 'paris-a': 'unreachable', 'oslo-a': 'unreachable' }),
      {},
      'health',
      'origin',
    ],
  ];
  for (const [title, world, ask, reason, first] of cases) {
    const decision = play(world, ask);
    assert.equal(decision.files[0].ranking.reason, reason, title);
    assert.ok(pathways(decision)[0].startsWith(first), `${title}: ${pathways(decision).join()}`);
    assert.equal(pathways(decision).at(-1), 'origin', title);
  }
});

test('with one holder left, boxes that would fetch the file follow it, home first', () => {
  const world = exampleWorld({ holdings: { 'lyon-a': [], 'lyon-b': [], 'oslo-a': [] } });
  const decision = play(world);
  const [first, second] = pathways(decision);
  assert.equal(first, 'paris-a');
  assert.ok(second.startsWith('lyon'));
  assert.deepEqual(decision.reasons, ['content']);
});

test('with two holders nobody else follows them but the origin', () => {
  const world = exampleWorld({ holdings: { 'lyon-a': [], 'lyon-b': [] } });
  assert.deepEqual(pathways(play(world)), ['paris-a', 'oslo-a', 'origin']);
  assert.equal(why(play(world), 'lyon-a'), 'lacks-file');
});

test('draining boxes serve only before nothing, and their reason is told', () => {
  const draining = { standing: 'draining' } as const;
  const one = play(exampleWorld({ appliances: { 'lyon-a': draining } }));
  assert.ok(!pathways(one).includes('lyon-a'));
  assert.equal(why(one, 'lyon-a'), 'draining');
  const all = play(
    exampleWorld({
      appliances: {
        'lyon-a': draining,
        'lyon-b': draining,
        'paris-a': draining,
        'oslo-a': draining,
      },
    }),
  );
  assert.ok(pathways(all)[0].startsWith('lyon'));
  assert.equal(pathways(all).at(-1), 'origin');
  assert.equal(all.isDegraded, true);
});

test('a box that lost the control plane but answers our probe is used; one that refuses us is not', () => {
  const gone = {
    'lyon-a': { standing: 'gone-hard' },
    'lyon-b': { standing: 'gone-silent' },
  } as const;
  const unknown = play(exampleWorld({ appliances: gone }));
  assert.equal(pathways(unknown)[0], 'paris-a');
  assert.equal(why(unknown, 'lyon-a'), 'gone');
  assert.equal(why(unknown, 'lyon-b'), 'silent');
  const answered = play(
    exampleWorld({ appliances: gone }, { 'lyon-a': 'reachable', 'lyon-b': 'reachable' }),
  );
  assert.ok(pathways(answered)[0].startsWith('lyon'));
  const refused = play(
    exampleWorld({ appliances: gone }, { 'lyon-a': 'unreachable', 'lyon-b': 'reachable' }),
  );
  assert.equal(pathways(refused)[0], 'lyon-b');
  assert.equal(why(refused, 'lyon-a'), 'unreachable');
});

test('an IPv6-only box is passed over for an IPv4 client and used for an IPv6 client', () => {
  const changes = { appliances: { 'lyon-a': { baseUrl: 'http://[2001:db8::a]:8080' } } };
  const v4 = play(exampleWorld(changes));
  assert.equal(pathways(v4)[0], 'lyon-b');
  assert.equal(why(v4, 'lyon-a'), 'wrong-family');
  const v6 = play(exampleWorld(changes), { clientAddress: '2001:db8:1::1' });
  assert.ok(pathways(v6).includes('lyon-a'));
});

test('sessions spread over the boxes of a uniform cluster; one session stays on one box for all files', () => {
  const world = exampleWorld();
  const firsts = new Map<string, number>();
  for (let at = 0; at < 400; at++) {
    const decision = play(world, { session: `session-${at}`, fileIds: [...EXAMPLE_FILES] });
    const firstOf = new Set(decision.files.map((_, file) => pathways(decision, file)[0]));
    assert.equal(firstOf.size, 1);
    const [first] = firstOf;
    firsts.set(first, (firsts.get(first) ?? 0) + 1);
  }
  assert.deepEqual([...firsts.keys()].sort(), ['lyon-a', 'lyon-b']);
  for (const count of firsts.values()) assert.ok(count > 140, `${count} of 400`);
});

test('weights are kept: a box of weight 3 gets three times as many sessions', () => {
  const world = exampleWorld({ appliances: { 'lyon-a': { weight: 3 } } });
  let toA = 0;
  for (let at = 0; at < 2000; at++) {
    if (pathways(play(world, { session: `s${at}` }))[0] === 'lyon-a') toA++;
  }
  assert.ok(toA > 1400 && toA < 1600, `${toA} of 2000`);
});

test('a box that leaves moves only its own sessions', () => {
  const before = exampleWorld();
  const after = exampleWorld({}, { 'lyon-b': 'unreachable' });
  for (let at = 0; at < 200; at++) {
    const ask = { session: `s${at}` };
    const first = pathways(play(before, ask))[0];
    if (first === 'lyon-a') assert.equal(pathways(play(after, ask))[0], 'lyon-a');
  }
});

test('viewers of a box that dies go to its peers in proportion to what these can serve, each to its own next one', () => {
  const moved = { siteId: 'lyon', clusterId: 'lyon-1' };
  const appliances = { 'paris-a': moved, 'oslo-a': { ...moved, weight: 3 } };
  const before = exampleWorld({ appliances });
  const after = exampleWorld({ appliances }, { 'lyon-a': 'unreachable' });
  const next = new Map<string, number>();
  let lost = 0;
  for (let at = 0; at < 3000; at++) {
    const ask = { session: `s${at}` };
    const [first, second] = pathways(play(before, ask));
    if (first !== 'lyon-a') continue;
    lost++;
    next.set(second, (next.get(second) ?? 0) + 1);
    assert.equal(pathways(play(after, ask))[0], second, 'as the player was told before');
  }
  assert.ok(lost > 400 && lost < 600, `${lost} of 3000: a sixth`);
  const shareOf = (id: string): number => (next.get(id) ?? 0) / lost;
  assert.ok(Math.abs(shareOf('oslo-a') - 0.6) < 0.08, `${shareOf('oslo-a')} of weight 3 in 5`);
  assert.ok(Math.abs(shareOf('lyon-b') - 0.2) < 0.06, `${shareOf('lyon-b')} of weight 1 in 5`);
});

test('own assignments count at once: without a new report sessions do not herd onto the box that looked idle', () => {
  const random = seededRandom(5);
  const ledger = new LoadLedger(1, EXAMPLE_AT_MS);
  const changes = {
    appliances: { 'lyon-a': { egressBps: 3e8 }, 'lyon-b': { egressBps: 0 } },
  };
  const firsts: string[] = [];
  for (let at = 0; at < 240; at++) {
    const decision = play(exampleWorld(changes, {}, ledger), { session: `s${random.below(1e9)}` });
    firsts.push(pathways(decision)[0]);
    for (const [id, bps] of expectedLoad(decision).boxes) ledger.assigned(id, bps, EXAMPLE_AT_MS);
  }
  const toB = firsts.filter((id) => id === 'lyon-b').length;
  // At 4 Mbit/s a session, b catches up with a's 300 Mbit/s after some 75 sessions; from then on both take.
  assert.equal(firsts.slice(0, 20).filter((id) => id === 'lyon-b').length, 20);
  assert.ok(toB > 100 && toB < 200, `${toB} of 240 to the idle box`);
});

test('a storm of first plays fills a home to its limit and no further: the rest is sent where there is headroom', () => {
  const ledger = new LoadLedger(1, EXAMPLE_AT_MS);
  const busy = { egressBps: 8e8 }; // of 1e9
  const changes = { appliances: { 'lyon-a': busy, 'lyon-b': busy } };
  const booked = new Map<string, number>();
  const reasons = new Set<string>();
  for (let at = 0; at < 160; at++) {
    const decision = play(exampleWorld(changes, {}, ledger), { session: `storm-${at}` });
    reasons.add(decision.files[0].ranking.reason);
    for (const [id, bps] of expectedLoad(decision).boxes) {
      ledger.assigned(id, bps, EXAMPLE_AT_MS);
      booked.set(id, (booked.get(id) ?? 0) + bps);
    }
  }
  const session = 4e6;
  for (const id of ['lyon-a', 'lyon-b']) {
    const bps = busy.egressBps + (booked.get(id) ?? 0);
    assert.ok(bps > 0.9e9 && bps <= 0.95e9 + session, `${id} at ${bps / 1e6} Mbit/s`);
  }
  assert.ok((booked.get('paris-a') ?? 0) > 60 * session, 'nobody waits');
  assert.deepEqual([...reasons].sort(), ['health', 'home']);
});

test('availability decides by country: the request wins over the prefix, and the answer says which rule', () => {
  const titles = [
    {
      ...exampleSnapshot().titles[0],
      availability: [{ countries: ['NO'], until: '2027-01-01T00:00:00Z' }],
    },
  ];
  const world = exampleWorld({ snapshot: { titles } });
  const ask = { titleId: EXAMPLE_TITLE, clientAddress: LYON, session: 's' };
  const refused = decidePlay(world, ask);
  assert.ok(refused.kind === 'refused');
  assert.equal(refused.status, 403);
  assert.equal(refused.error, 'not-available');
  assert.match(refused.message, /FR \(by its prefix\)/);
  assert.deepEqual(refused.problems, ['allowed: NO until 2027-01-01T00:00:00Z']);
  assert.equal(decidePlay(world, { ...ask, country: 'NO' }).kind, 'play');
  assert.equal(decidePlay(world, { ...ask, clientAddress: '10.3.0.1' }).kind, 'play');
  assert.equal(decidePlay(world, { ...ask, clientAddress: '192.0.2.1' }).kind, 'refused');
});

test('unknown titles, files and addresses are refused with what is wrong', () => {
  const world = exampleWorld();
  const ask = { titleId: EXAMPLE_TITLE, clientAddress: LYON, session: 's' };
  const stranger = 'x'.repeat(43);
  const cases = [
    [decidePlay(world, { ...ask, titleId: 'nope' }), 404, 'unknown-title'],
    [decidePlay(world, { ...ask, fileIds: [EXAMPLE_FILES[0], stranger] }), 404, 'unknown-file'],
    [decidePlay(world, { ...ask, clientAddress: '10.1.2' }), 400, 'invalid'],
  ] as const;
  for (const [decision, status, error] of cases) {
    assert.ok(decision.kind === 'refused');
    assert.deepEqual([decision.status, decision.error], [status, error]);
  }
  const [, unknown] = cases;
  assert.ok(unknown[0].kind === 'refused');
  assert.deepEqual(unknown[0].problems.length, 1);
});

test('whatever is wrong with the fleet, every list ends in the origin and names no box twice', () => {
  const standings = ['serving', 'draining', 'down', 'gone-hard', 'gone-silent'] as const;
  const names = ['unknown', 'reachable', 'suspect', 'unreachable'] as const;
  const ids = ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a'];
  const box = fc.record({
    standing: fc.constantFrom(...standings),
    evidence: fc.constantFrom(...names),
    egressBps: fc.constantFrom(0, 5e8, 2e9),
    weight: fc.constantFrom(0, 1, 2),
    held: fc.subarray([0, 1, 2]),
  });
  fc.assert(
    fc.property(fc.array(box, { minLength: 4, maxLength: 4 }), (boxes) => {
      const of = <T>(pick: (one: (typeof boxes)[number]) => T): Record<string, T> =>
        Object.fromEntries(ids.map((id, at) => [id, pick(boxes[at])]));
      const world = exampleWorld(
        {
          appliances: of(({ standing, egressBps, weight }) => ({ standing, egressBps, weight })),
          holdings: of(({ held }) => held),
        },
        of(({ evidence }) => evidence),
      );
      const decision = play(world, { fileIds: [...EXAMPLE_FILES] });
      for (let file = 0; file < EXAMPLE_FILES.length; file++) {
        const list = pathways(decision, file);
        assert.equal(list.at(-1), 'origin');
        assert.ok(list.length <= 4);
        assert.equal(new Set(list).size, list.length);
        const { candidates, passedOver, reason } = decision.files[file].ranking;
        const accounted = [...list.slice(0, -1), ...passedOver.map((one) => one.applianceId)];
        assert.deepEqual(accounted.sort(), ids.toSorted());
        const [first] = candidates;
        assert.equal(reason === 'home', first.kind === 'appliance' && first.isHome);
        // A box that may be used is always used before the origin.
        const somebodyServes = ids.some(
          (id, at) =>
            ['unknown', 'reachable'].includes(boxes[at].evidence) &&
            boxes[at].standing === 'serving' &&
            id !== '',
        );
        if (somebodyServes) assert.notEqual(list[0], 'origin');
      }
    }),
    { numRuns: 400 },
  );
});

test('two boxes of two in a site, suspected softly, stay: behind boxes that are well, before the origin', () => {
  const suspects = { 'lyon-a': 'suspect', 'lyon-b': 'suspect' } as const;
  const decision = play(exampleWorld({}, suspects));
  assert.equal(pathways(decision)[0], 'paris-a');
  assert.equal(why(decision, 'lyon-a'), 'suspect');
  const alone = play(
    exampleWorld({}, { ...suspects, 'paris-a': 'unreachable', 'oslo-a': 'unreachable' }),
  );
  assert.ok(pathways(alone)[0].startsWith('lyon'));
  assert.equal(pathways(alone).length, 3);
});

test('all boxes of a site down: its clients get the nearest others, and say why they are not at home', () => {
  const down = play(exampleWorld({}, { 'lyon-a': 'unreachable', 'lyon-b': 'unreachable' }));
  assert.deepEqual(pathways(down), ['paris-a', 'oslo-a', 'origin']);
  assert.deepEqual([down.home, down.reasons], ['lyon-1', ['health']]);
});

test('a region with no prefixes is found by the country that playback names; without one every client still gets boxes', () => {
  const bare = exampleSnapshot();
  const clusters = bare.clusters.map((cluster) => ({ ...cluster, prefixes: [] }));
  const world = exampleWorld({ snapshot: { clusters } });
  const norwegian = play(world, { country: 'NO' });
  assert.equal(pathways(norwegian)[0], 'oslo-a');
  assert.deepEqual(norwegian.reasons, ['other']);
  for (const clientAddress of [LYON, '203.0.113.9', '2001:db8:ffff::1']) {
    const list = pathways(play(world, { clientAddress }));
    assert.ok(list.length >= 3 && list.at(-1) === 'origin', `${clientAddress}: ${list.join()}`);
  }
});

test('all boxes over capacity: they are still named, nearest first, and what stands behind them is the origin', () => {
  const full = { egressBps: 990_000_000 };
  const world = exampleWorld({
    appliances: { 'lyon-a': full, 'lyon-b': full, 'paris-a': full, 'oslo-a': full },
  });
  const decision = play(world);
  assert.ok(pathways(decision)[0].startsWith('lyon'));
  assert.equal(pathways(decision).at(-1), 'origin');
  assert.equal(expectedLoad(decision).boxes.size, 0, 'none of them will take it');
});

test('in a country of fewer than ten boxes soft evidence takes none out: suspects stand last', () => {
  const one = play(exampleWorld({}, { 'lyon-a': 'suspect' }));
  assert.equal(why(one, 'lyon-a'), 'suspect');
  assert.deepEqual(pathways(one), ['lyon-b', 'paris-a', 'oslo-a', 'origin']);
  const rest = { 'lyon-b': 'unreachable', 'paris-a': 'suspect', 'oslo-a': 'unreachable' } as const;
  const two = play(exampleWorld({}, { 'lyon-a': 'suspect', ...rest }));
  assert.deepEqual(pathways(two), ['lyon-a', 'paris-a', 'origin']);
});

test('of ten boxes and more at most four in ten are taken out on suspicion; where more are suspected, none is', () => {
  const ids = Array.from({ length: 12 }, (_, at) => `lyon-${at}`);
  const worldOf = (suspected: number): World => {
    const small = exampleSnapshot();
    const [like] = small.appliances;
    const appliances = ids.map((applianceId, at) => ({
      ...like,
      applianceId,
      baseUrl: `http://127.77.8.${at + 1}:8080`,
    }));
    const fleet = createFleet({
      ...small,
      appliances,
      holdings: ids.map((applianceId) => ({ applianceId, version: 1, ordinals: [0, 1, 2] })),
    });
    const suspects = ids
      .slice(0, suspected)
      .map((applianceId) => ({ applianceId, family: 4 as const, name: 'suspect' as const }));
    const frame = new LoadLedger(1, EXAMPLE_AT_MS).freeze(fleet, suspects, EXAMPLE_AT_MS);
    return createWorld(fleet, frame);
  };
  const verdicts = (suspected: number): readonly string[] => {
    const world = worldOf(suspected);
    return world.fleet.appliances
      .slice(0, suspected)
      .map((appliance) => judge(world, appliance, 4).usability);
  };
  assert.deepEqual(new Set(verdicts(4)), new Set(['excluded']));
  assert.deepEqual(new Set(verdicts(5)), new Set(['suspect']));
  assert.deepEqual(new Set(verdicts(12)), new Set(['suspect']), 'all of them, and all still serve');
  const list = pathways(play(worldOf(12)));
  assert.equal(list.filter((id) => id.startsWith('lyon')).length, 3);
});

test('a box that this node alone doubts stands behind its peers, in a country of any size, and is never out', () => {
  const one = play(exampleWorld({}, { 'lyon-a': 'doubted', 'oslo-a': 'unreachable' }));
  assert.deepEqual(pathways(one), ['lyon-b', 'paris-a', 'origin'], 'two that are well are enough');
  const left = play(
    exampleWorld({}, { 'lyon-a': 'doubted', 'lyon-b': 'unreachable', 'paris-a': 'unreachable' }),
  );
  assert.deepEqual(pathways(left), ['oslo-a', 'lyon-a', 'origin']);
  const all = play(
    exampleWorld(
      {},
      { 'lyon-a': 'doubted', 'lyon-b': 'doubted', 'paris-a': 'doubted', 'oslo-a': 'doubted' },
    ),
  );
  assert.ok(pathways(all)[0].startsWith('lyon'), 'a broken path of ours changes no order');
});

test('a box has the share of sessions that the weight loop gives it; the others go to its peers, then further away', () => {
  const count = (world: World): Readonly<Record<string, number>> => {
    const firsts: Record<string, number> = {};
    for (let at = 0; at < 2000; at++) {
      const [first] = pathways(play(world, { session: `s${at}` }));
      firsts[first] = (firsts[first] ?? 0) + 1;
    }
    return firsts;
  };
  const one = count(exampleWorld({ appliances: { 'lyon-a': { admit: 0.5 } } }));
  assert.ok(one['lyon-a'] > 420 && one['lyon-a'] < 580, JSON.stringify(one));
  assert.equal(one['lyon-a'] + one['lyon-b'], 2000);
  const both = count(
    exampleWorld({ appliances: { 'lyon-a': { admit: 0.5 }, 'lyon-b': { admit: 0.5 } } }),
  );
  // Both refuse a quarter of all sessions.
  assert.ok(both['paris-a'] > 420 && both['paris-a'] < 580, JSON.stringify(both));
});

test('clusters of one prefix: embedded before peering, unless the site wishes otherwise', () => {
  const shared = (changes: Readonly<Record<string, object>>): World => {
    const { clusters } = exampleSnapshot();
    return exampleWorld({
      snapshot: {
        clusters: clusters.map((cluster) => ({
          ...cluster,
          prefixes: cluster.siteId === 'oslo' ? cluster.prefixes : ['10.1.0.0/16'],
          ...changes[cluster.siteId],
        })),
      },
    });
  };
  const home = (world: World): string => play(world).home;
  assert.equal(home(shared({ lyon: { linkClass: 'public-peering' } })), 'paris-1');
  assert.equal(home(shared({ paris: { linkClass: 'private-peering' } })), 'lyon-1');
  assert.equal(
    home(
      shared({ lyon: { linkClass: 'public-peering' }, paris: { linkClass: 'private-peering' } }),
    ),
    'paris-1',
  );
  assert.equal(home(shared({ lyon: { linkClass: 'public-peering', preference: 5 } })), 'lyon-1');
});
