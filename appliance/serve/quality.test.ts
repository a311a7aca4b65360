import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bucketOf, histogramText, LogHistogram } from './log-histogram.ts';
import { aggregateOf, PREFIXES_MAX, QualityLedger, type DeliveryFacts } from './quality.ts';

const MIB = 1024 * 1024;
const DELIVERY: DeliveryFacts = {
  remoteAddress: '192.0.2.7',
  firstByteMs: 3,
  durationMs: 1000,
  bytes: 2 * MIB,
  isError: false,
  throughputKbps: null,
};

test('buckets double, and the last one holds everything above', () => {
  const cases = [
    [0, 0],
    [0.9, 0],
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [16383, 14],
    [16384, 15],
    [1e12, 15],
  ] as const;
  for (const [value, bucket] of cases) assert.equal(bucketOf(value, 16), bucket, `${value}`);
});

test('a histogram is told to Prometheus with cumulative buckets, sum and count', () => {
  const histogram = new LogHistogram(4);
  for (const value of [0, 1, 3, 100]) histogram.add(value);
  assert.equal(
    histogramText('x_ms', 'X', histogram),
    '# HELP x_ms X\n# TYPE x_ms histogram\nx_ms_bucket{le="1"} 1\nx_ms_bucket{le="2"} 2\nx_ms_bucket{le="4"} 3\nx_ms_bucket{le="+Inf"} 4\nx_ms_sum 104\nx_ms_count 4\n',
  );
});

test('a client is told as its /24 or /48, an IPv4-mapped one as IPv4', () => {
  assert.equal(aggregateOf('192.0.2.7'), '192.0.2.0/24');
  assert.equal(aggregateOf('::ffff:192.0.2.7'), '192.0.2.0/24');
  assert.equal(aggregateOf('2001:db8:1:2::3'), '2001:db8:1::/48');
  assert.equal(aggregateOf('2001:db8::3'), '2001:db8::/48');
  assert.equal(aggregateOf('nobody'), null);
});

test('a minute is given out once, when it is over, with first byte, rate and errors per path', () => {
  const ledger = new QualityLedger();
  ledger.delivered(DELIVERY, 600);
  ledger.delivered({ ...DELIVERY, remoteAddress: '192.0.2.200', firstByteMs: 5 }, 610);
  ledger.delivered({ ...DELIVERY, remoteAddress: '198.51.100.1', isError: true, bytes: 10 }, 620);
  assert.equal(ledger.take(659), null, 'not over');
  assert.deepEqual(ledger.take(660), {
    minute: 600,
    aggregates: [
      {
        prefix: '192.0.2.0/24',
        firstByteMs: [0, 0, 1, 1],
        rateKbps: [...Array.from({ length: 15 }, () => 0), 2], // 16,777 kbit/s
        errors: 0,
      },
      { prefix: '198.51.100.0/24', firstByteMs: [0, 0, 1], rateKbps: [], errors: 1 },
    ],
  });
  assert.equal(ledger.take(661), null, 'once');
  assert.equal(ledger.take(720), null, 'nobody was served in that minute');
});

test('what the player measured counts instead of what the kernel took', () => {
  const ledger = new QualityLedger();
  ledger.delivered({ ...DELIVERY, bytes: 100, throughputKbps: 3 }, 0);
  assert.deepEqual(ledger.take(60)?.aggregates[0].rateKbps, [0, 0, 1]);
});

test('addresses of one /48 that are written differently are one path', () => {
  const ledger = new QualityLedger();
  ledger.delivered({ ...DELIVERY, remoteAddress: '2001:db8:0:1::1' }, 0);
  ledger.delivered({ ...DELIVERY, remoteAddress: '2001:db8::1' }, 0);
  const aggregates = ledger.take(60)?.aggregates;
  assert.deepEqual(
    aggregates?.map(({ prefix, firstByteMs }) => [prefix, firstByteMs]),
    [['2001:db8::/48', [0, 0, 2]]],
  );
});

test('more networks than the limit in one minute are counted as left out', () => {
  const ledger = new QualityLedger();
  for (let at = 0; at < PREFIXES_MAX + 5; at++) {
    const remoteAddress = `${10 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}.1`;
    ledger.delivered({ ...DELIVERY, remoteAddress }, 0);
  }
  assert.equal(ledger.answersLeftOut, 5);
  assert.equal(ledger.take(60)?.aggregates.length, PREFIXES_MAX);
});

test('CMCD is counted: starvation, bitrate, throughput, buffer', () => {
  const ledger = new QualityLedger();
  const target = `/t/a/b?CMCD=${encodeURIComponent('bl=900,br=3000,bs,mtp=20000')}`;
  assert.equal(ledger.heard(target, target.indexOf('?')), 20000);
  assert.equal(ledger.heard('/t/a/b', -1), null);
  const { qoe } = ledger;
  assert.deepEqual([qoe.requests, qoe.starved], [1, 1]);
  assert.deepEqual(
    [qoe.bitrateKbps.sum, qoe.throughputKbps.sum, qoe.bufferMs.sum],
    [3000, 20000, 900],
  );
});
