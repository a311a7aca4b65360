import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planningOptions } from '../config.ts';
import type { PlannerInput } from '../contract.ts';
import { planFamily, prepareNight } from '../night.ts';
import { sampleNight } from '../sample-night.ts';
import { cappedBoxes, capText, withoutCaps } from './fill-caps.ts';
import type { SiteSummary } from './summary.ts';

function summaryOf(input: PlannerInput): SiteSummary {
  const night = prepareNight(input, planningOptions());
  assert.ok(night.ok);
  const planned = night.value.families.flatMap((family) => planFamily(night.value, family));
  const found = planned.find(({ summary }) => summary.siteId === 'site-0');
  assert.ok(found !== undefined);
  return found.summary;
}

test('a cap that lets nothing through costs an empty site its offload, and the plan says how much', () => {
  const night = sampleNight({ seed: 4 });
  const input: PlannerInput = {
    ...night,
    holdings: [],
    appliances: night.appliances.map((box) =>
      box.siteId === 'site-0'
        ? { ...box, fillHourlyBps: Array.from({ length: 24 }, () => 0) }
        : box,
    ),
  };
  assert.deepEqual(cappedBoxes(input, 'site-0'), ['box-0-0', 'box-0-1']);
  const capped = summaryOf(input);
  assert.equal(capped.filledBytes, 0);
  const lifted = summaryOf(withoutCaps(input, ['box-0-0']));
  assert.ok(lifted.servedBps > 0);
  assert.match(
    capText('box-0-0', capped, lifted),
    /^ {2}fill cap of box-0-0: costs [1-9]\d*\.\d\d points/,
  );
});
