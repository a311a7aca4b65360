import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom, type Random } from '#base/random.ts';
import { BAND_LEVEL, predictionOf, withBands } from './bands.ts';
import {
  FluidThread,
  STEPS,
  countriesOf,
  fluidInput,
  fluidMemory,
  fluidResult,
} from './fluid/fluid-run.ts';
import { generatedTopology } from './network/topology.ts';
import type { SimulationResult } from './result.ts';
import { scenarioOf } from './scenario.ts';

const SEEDS = 60;
const BAND_SEEDS = 20;

/** One seed of a small network, without threads. */
function resultOf(seed: number): SimulationResult {
  const read = scenarioOf({
    name: 'bands',
    days: 3,
    catalogue: { programmes: 100, variants: 20 },
    fleet: {
      source: 'generated',
      boxes: {
        storage: { storageTb: 0.2, fillGbps: 0.01 },
        small: { storageTb: 0.1, fillGbps: 0.01 },
        flash: { storageTb: 0.05, fillGbps: 0.01 },
      },
    },
  });
  assert.ok(read.ok);
  const input = fluidInput(read.value, generatedTopology(1, 60).slice(0, 8), seed);
  assert.ok(input.ok);
  const memory = fluidMemory(input.value);
  const thread = new FluidThread(input.value, memory);
  for (const step of STEPS) {
    for (const country of countriesOf(input.value.network)) thread.run(step, country);
  }
  return fluidResult(input.value, memory, 'base', read.value.days);
}

function normalOf(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

function isWithin(value: number, of: readonly number[]): boolean {
  const { mean, halfWidth } = predictionOf(of);
  return Math.abs(value - mean) <= halfWidth;
}

test('a further normal value falls within the band of few or many the stated share of the time', () => {
  const random = seededRandom(17);
  const trials = 20_000;
  const reach = 4 * Math.sqrt((BAND_LEVEL * (1 - BAND_LEVEL)) / trials);
  for (const seeds of [2, 3, 5, 10, 22, 40]) {
    let within = 0;
    for (let trial = 0; trial < trials; trial++) {
      const values = Array.from({ length: seeds }, () => normalOf(random));
      if (isWithin(normalOf(random), values)) within++;
    }
    const share = within / trials;
    assert.ok(Math.abs(share - BAND_LEVEL) < reach, `${seeds} seeds: ${share}`);
  }
});

/** How many of `further` fall within a band of `seeds`, were they normal: the 0.1 and 99.9 % quantiles; a band's own chance is in it. */
function expectedRange(seeds: number, further: number): readonly [number, number] {
  const random = seededRandom(23);
  const counts = Array.from({ length: 4000 }, () => {
    const values = Array.from({ length: seeds }, () => normalOf(random));
    return Array.from({ length: further }, () => normalOf(random)).filter((value) =>
      isWithin(value, values),
    ).length;
  }).sort((a, b) => a - b);
  return [counts[4], counts[3995]];
}

test('forty further seeds of a scenario fall within its bands about as often as the bands say', () => {
  const results = Array.from({ length: SEEDS }, (_, at) => resultOf(at + 1));
  const { bands, meta } = withBands(results.slice(0, BAND_SEEDS));
  assert.equal(meta.bandLevel, BAND_LEVEL);
  const further = results.slice(BAND_SEEDS);
  const [least, most] = expectedRange(BAND_SEEDS, further.length);
  for (const metric of ['offloadShare', 'contentMissShare', 'netOffloadShare'] as const) {
    const band = bands.find((entry) => entry.metric === metric);
    assert.ok(band !== undefined);
    const within = further.filter(
      ({ totals }) => totals[metric] >= band.low && totals[metric] <= band.high,
    ).length;
    assert.ok(
      within >= least && within <= most,
      `${metric}: ${within} of ${further.length}, expected ${least} to ${most}`,
    );
  }
  // Bands of five seeds, each against all other seeds.
  const values = results.map(({ totals }) => totals.offloadShare);
  let [within, asked] = [0, 0];
  for (let from = 0; from < SEEDS; from += 5) {
    const own = values.slice(from, from + 5);
    const others = values.filter((_, at) => at < from || at >= from + 5);
    within += others.filter((value) => isWithin(value, own)).length;
    asked += others.length;
  }
  const share = within / asked;
  assert.ok(Math.abs(share - BAND_LEVEL) < 0.12, `bands of five seeds: ${share}`);
});
