import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counters } from './counters.ts';
import { QualityLedger } from './quality.ts';
import { AccessLedger, addTally, takeTally, type Ledgers } from './tally.ts';
import { ViewLedger } from './view-ledger.ts';

const FILE = 'a'.repeat(64);
const NOW = 1_800_000_000;

function ledgers(isOwner: boolean): Ledgers {
  return {
    counters: new Counters(),
    views: new ViewLedger(),
    quality: new QualityLedger(isOwner),
  };
}

/** One answer of `bytes`, as an account counts it. */
function served(thread: Ledgers, accesses: AccessLedger, bytes: number, nowSeconds: number): void {
  const { counters, views, quality } = thread;
  counters.viewerRequests++;
  counters.viewerBytes += bytes;
  counters.viewerBytesByReason.content += bytes;
  const slot = views.take(FILE, 'home', 'content', nowSeconds);
  assert.ok(slot !== null);
  slot.bytes += bytes;
  slot.starts++;
  slot.users--;
  quality.heard('/t?CMCD=bs', 2);
  quality.delivered(
    {
      remoteAddress: '192.0.2.7',
      firstByteMs: 3,
      durationMs: 10,
      bytes,
      isError: false,
      throughputKbps: 5000,
    },
    nowSeconds,
  );
  accesses.add(FILE, bytes);
}

test('what two threads counted is in the owner’s ledgers once, whenever it was taken', () => {
  const owner = ledgers(true);
  const [one, two] = [ledgers(false), ledgers(false)];
  const accesses = new AccessLedger();
  let bytes = 0;
  for (let at = 1; at <= 60; at++) {
    const thread = at % 3 === 0 ? one : two;
    served(thread, accesses, at, NOW + at); // over a minute's edge
    bytes += at;
    one.counters.refuse('full');
    if (at % 7 === 0) addTally(owner, takeTally(one, accesses, NOW + at), NOW + at);
    if (at % 4 === 0) addTally(owner, takeTally(two, accesses, NOW + at), NOW + at);
  }
  for (const thread of [one, two]) {
    addTally(owner, takeTally(thread, accesses, NOW + 60), NOW + 60);
    addTally(owner, takeTally(thread, accesses, NOW + 60), NOW + 60); // nothing is left
  }
  assert.equal(owner.counters.viewerRequests, 60);
  assert.equal(owner.counters.viewerBytes, bytes);
  assert.equal(owner.counters.viewerBytesByReason.content, bytes);
  assert.equal(owner.counters.refused.get('full'), 60);
  const records = owner.views.drain(100, NOW + 60);
  assert.equal(
    records.reduce((sum, record) => sum + record.bytes, 0),
    bytes,
  );
  assert.equal(
    records.reduce((sum, record) => sum + record.starts, 0),
    60,
  );
  assert.equal(owner.quality.qoe.starved, 60);
  const first = owner.quality.take(NOW + 60);
  const second = owner.quality.take(NOW + 120);
  const rates = [first, second].flatMap((minute) => minute?.aggregates ?? []);
  const answers = rates.flatMap(({ rateKbps }) => rateKbps).reduce((sum, count) => sum + count, 0);
  assert.equal(answers, 60, 'no minute’s answers are lost at its edge');
});

test('bytes per file are handed over once', () => {
  const accesses = new AccessLedger();
  accesses.add(FILE, 10);
  accesses.add(FILE, 5);
  assert.deepEqual(accesses.take(), [[FILE, 15]]);
  assert.deepEqual(accesses.take(), []);
});
