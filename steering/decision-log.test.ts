import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { applyDelta, type FleetDelta, type FleetSnapshot } from '#control-plane/contract.ts';
import { decidePlay, expectedLoad } from './answer.ts';
import { createWorld } from './candidates.ts';
import { loadRecord, playRecord, replay } from './decision-log.ts';
import type { EvidenceName } from './evidence.ts';
import { EXAMPLE_AT_MS, EXAMPLE_FILES, EXAMPLE_TITLE, exampleSnapshot } from './example-fleet.ts';
import { createFleet } from './fleet.ts';
import { LoadLedger } from './load.ts';

/** A day in the life of a node, as it would be logged: seeded, with faults, loads and changes. */
function history(seed: number, decisions: number): string[] {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)];
  const ledger = new LoadLedger(2, EXAMPLE_AT_MS);
  const lines: string[] = [];
  let snapshot: FleetSnapshot = exampleSnapshot();
  let fleet = createFleet(snapshot);
  lines.push(JSON.stringify({ t: 'snapshot', snapshot }));
  let atMs = EXAMPLE_AT_MS;
  for (let done = 0; done < decisions;) {
    atMs += 250;
    if (random.below(3) === 0) {
      const delta: FleetDelta = {
        kind: 'delta',
        version: snapshot.version + 1,
        baseVersion: snapshot.version,
        epoch: snapshot.epoch,
        issuedAtMs: atMs,
        prefixesVersion: snapshot.prefixesVersion,
        appliances: [
          {
            ...pick(snapshot.appliances),
            standing: pick(['serving', 'serving', 'draining', 'gone-hard', 'gone-silent', 'down']),
            egressBps: random.next() * 1e9,
            weight: random.next(),
            heartbeatAtMs: atMs,
          },
        ],
        appliancesRemoved: [],
        holdings: [
          {
            applianceId: pick(snapshot.appliances).applianceId,
            version: 5 + done,
            added: [random.below(3)],
            removed: [random.below(3)],
          },
        ],
        titles: [],
        titlesRemoved: [],
      };
      const next = applyDelta(snapshot, delta);
      assert.ok(next !== 'gap');
      snapshot = next;
      fleet = createFleet(snapshot, fleet);
      lines.push(JSON.stringify({ t: 'delta', delta }));
    }
    const names: readonly EvidenceName[] = ['unknown', 'reachable', 'suspect', 'unreachable'];
    const world = createWorld(
      fleet,
      ledger.freeze(
        fleet,
        fleet.appliances.flatMap(({ applianceId }) =>
          ([4, 6] as const).map((family) => ({ applianceId, family, name: pick(names) })),
        ),
        atMs,
      ),
    );
    lines.push(JSON.stringify(loadRecord(world.load)));
    for (let play = 0; play < 5; play++, done++) {
      const request = {
        titleId: random.below(20) === 0 ? 'nope' : EXAMPLE_TITLE,
        fileIds: [...EXAMPLE_FILES].slice(random.below(3)),
        clientAddress: `10.${1 + random.below(4)}.${random.below(256)}.${random.below(256)}`,
        session: `s${random.below(1000)}`,
      };
      const decision = decidePlay(world, request);
      if (decision.kind === 'play') {
        for (const [id, bps] of expectedLoad(decision).boxes) ledger.assigned(id, bps, atMs);
      }
      lines.push(JSON.stringify(playRecord(world, request, decision)));
    }
  }
  return lines;
}

test('every logged decision comes out the same when it is taken again, bit for bit', () => {
  const result = replay(history(11, 1000));
  assert.deepEqual(result, { decisions: 1000, same: 1000, different: [], problem: null });
});

test('a log keeps of an address only the network within which the answer is the same', () => {
  const plays = history(12, 50)
    .map((line) => JSON.parse(line) as { t: string; request: { clientAddress: string } })
    .filter(({ t }) => t === 'play');
  for (const { request } of plays) assert.match(request.clientAddress, /^10\.[0-4]\.0\.0$/);
});

test('a decision that was changed is found, a file that is broken says where', () => {
  const lines = history(13, 20);
  const last = JSON.parse(lines.at(-1)!) as { digest: string };
  const forged = [...lines.slice(0, -1), JSON.stringify({ ...last, digest: 'x' })];
  const result = replay(forged);
  assert.equal(result.same, 19);
  assert.equal(result.different.length, 1);
  assert.equal(result.different[0].line, lines.length);
  const cases: readonly [readonly string[], RegExp][] = [
    [lines.slice(1), /line 1: .*before any snapshot|line 1: the delta does not follow/],
    [[...lines.slice(0, 3), '{"t":'], /line 4: /],
    [[...lines.slice(0, 1), '{"t":"other"}'], /line 2: unknown record "other"/],
  ];
  for (const [broken, words] of cases) assert.match(replay(broken).problem ?? '', words);
});
