import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Heartbeat } from '#appliance/contract.ts';
import { SERIES_SECONDS, WINDOW_SECONDS } from './fleet-view.ts';
import { Traffic } from './traffic.ts';

const START_MS = 1_800_000_000_000;

function heartbeat(
  bootId: string,
  viewerBytes: number,
  fill: { peer?: number; origin?: number } = {},
): Heartbeat {
  const counters = {
    viewerBytes,
    fillBytes: { peer: fill.peer ?? 0, tier: 0, origin: fill.origin ?? 0 },
  };
  return { bootId, counters } as unknown as Heartbeat;
}

const near = (actual: number | null, expected: number): void => {
  assert.ok(actual !== null && Math.abs(actual - expected) < 1e-6, `${actual}, not ${expected}`);
};

test('what a box sent before we first heard it is not counted as now', () => {
  const traffic = new Traffic();
  traffic.fromBox('box-1', heartbeat('boot', 1_000_000), START_MS);
  assert.equal(traffic.figures(START_MS + 3000).offloadShare, null);
  traffic.fromBox('box-1', heartbeat('boot', 1_001_000), START_MS + 1000);
  near(traffic.figures(START_MS + 3000).offloadShare, 1);
  assert.equal(traffic.viewerBpsOf('box-1', START_MS + 1000), 4000, 'half of the first rate');
  traffic.fromBox('box-1', heartbeat('boot', 1_002_000), START_MS + 2000);
  assert.equal(traffic.viewerBpsOf('box-1', START_MS + 2000), 6000, 'it approaches 8,000');
  assert.equal(traffic.viewerBpsOf('box-1', START_MS + 60_000), 0, 'a silent box sends nothing');
});

test('a box that restarts counts from zero, nothing is lost and nothing is negative', () => {
  const traffic = new Traffic();
  traffic.fromBox('box-1', heartbeat('boot-1', 5000), START_MS);
  traffic.fromBox('box-1', heartbeat('boot-1', 6000), START_MS + 1000);
  traffic.fromBox('box-1', heartbeat('boot-2', 300), START_MS + 2000);
  const bits = traffic.series(START_MS + 5000).reduce((sum, point) => sum + point.viewerBps, 0);
  near(bits, 1300 * 8);
});

test('offload counts what viewers had from the origin, net offload the fill as well', () => {
  const traffic = new Traffic();
  const origin = (serveBytes: number, fillBytes: number, viewerBytes: number) => ({
    serveBytes,
    fillBytes,
    viewerBytes,
  });
  traffic.fromBox('box-1', heartbeat('b', 0), START_MS);
  traffic.fromOrigin(origin(50, 70, 20), START_MS);
  // 8,000 from the box (1,000 of it fetched on demand), 2,000 by the origin itself; 500 filled.
  traffic.fromBox('box-1', heartbeat('b', 8000, { origin: 500, peer: 250 }), START_MS + 1000);
  traffic.fromOrigin(origin(3050, 570, 2020), START_MS + 2000);
  const figures = traffic.figures(START_MS + 5000);
  near(figures.offloadShare, 1 - 3000 / 10_000);
  near(figures.netOffloadShare, 1 - 3500 / 10_000);
  near(figures.viewerBps, (10_000 * 8) / 5);
  near(figures.originServeBps, (3000 * 8) / 5);
  near(figures.fillBps, (750 * 8) / 5);
  const peerBits = traffic
    .series(START_MS + 5000)
    .reduce((sum, point) => sum + point.peerFillBps, 0);
  near(peerBits, 250 * 8);
});

test('an origin that restarts counts from zero', () => {
  const traffic = new Traffic();
  traffic.fromOrigin({ serveBytes: 900, fillBytes: 0, viewerBytes: 900 }, START_MS);
  traffic.fromOrigin({ serveBytes: 100, fillBytes: 0, viewerBytes: 100 }, START_MS + 2000);
  near(traffic.figures(START_MS + 5000).originServeBps, (100 * 8) / 5);
});

test('filling before anybody watches makes net offload negative, never hidden', () => {
  const traffic = new Traffic();
  traffic.fromBox('box-1', heartbeat('b', 0), START_MS);
  traffic.fromOrigin({ serveBytes: 0, fillBytes: 0, viewerBytes: 0 }, START_MS);
  traffic.fromBox('box-1', heartbeat('b', 1000), START_MS + 1000);
  traffic.fromOrigin({ serveBytes: 0, fillBytes: 3000, viewerBytes: 0 }, START_MS + 2000);
  near(traffic.figures(START_MS + 5000).offloadShare, 1);
  near(traffic.figures(START_MS + 5000).netOffloadShare, -2);
});

test('the series has one point a second, oldest first, and is bounded; the window forgets', () => {
  const traffic = new Traffic();
  for (let second = 0; second <= 1000; second++) {
    traffic.fromBox('box-1', heartbeat('b', second * 100), START_MS + second * 1000);
  }
  const endMs = START_MS + 1_002_000;
  const series = traffic.series(endMs);
  assert.equal(series.length, SERIES_SECONDS);
  assert.ok(series.every((point, at) => at === 0 || point.atMs === series[at - 1].atMs + 1000));
  assert.ok(series.every((point) => point.viewerBps === 800));
  const later = traffic.figures(endMs + (WINDOW_SECONDS + 5) * 1000);
  assert.equal(later.offloadShare, null, 'nobody watched in the last minute');
});
