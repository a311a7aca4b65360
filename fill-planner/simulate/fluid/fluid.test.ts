import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { runFluid } from '../io/fluid-pool.ts';
import { generatedTopology } from '../network/topology.ts';
import { checkResult, type SimulationResult } from '../result.ts';
import { scenarioOf, type Scenario } from '../scenario.ts';

const TOPOLOGY = generatedTopology(1, 60);

function scenario(given: object = {}): Scenario {
  const read = scenarioOf({
    name: 'test',
    days: 4,
    catalogue: { programmes: 1500, variants: 200 },
    fleet: {
      source: 'generated',
      boxes: {
        storage: { storageTb: 4, fillGbps: 0.02 },
        small: { storageTb: 2, fillGbps: 0.01 },
        flash: { storageTb: 1, fillGbps: 0.01 },
      },
    },
    ...given,
  });
  assert.ok(read.ok, read.ok ? '' : read.failure.join('\n'));
  return read.value;
}

async function result(given: object = {}, seed = 1, threads = 2): Promise<SimulationResult> {
  const run = await runFluid(scenario(given), TOPOLOGY, seed, { variant: 'base', threads });
  assert.ok(run.ok, run.ok ? '' : run.failure);
  return run.value;
}

const digest = (value: SimulationResult): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex');

test('a result is what its schema says, and every byte asked for is in one class', async () => {
  const run = await result();
  const checked = checkResult(JSON.parse(JSON.stringify(run)));
  assert.ok(checked.ok, checked.ok ? '' : checked.failure.join('\n'));
  const { totals, hours } = run;
  const classes =
    totals.offloadShare +
    totals.contentMissShare +
    totals.healthMissShare +
    totals.otherMissShare +
    totals.unmetShare;
  assert.ok(Math.abs(classes - 1) < 1e-9, `classes sum to ${classes}`);
  hours.homeBytes.forEach((home, hour) => {
    const misses =
      hours.contentMissBytes[hour] + hours.healthMissBytes[hour] + hours.otherMissBytes[hour];
    const carried = hours.tierBytes[hour] + hours.originBytes[hour] + hours.externalBytes[hour];
    assert.ok(home > 0);
    assert.ok(
      Math.abs(misses - carried) < 1e-6 * misses,
      `hour ${hour}: ${misses} missed, ${carried} carried`,
    );
  });
});

test('one seed gives the same bytes with one thread and with two; another seed gives others', async () => {
  const [one, two, other] = [await result({}, 1, 1), await result({}, 1, 2), await result({}, 2)];
  assert.equal(digest(one), digest(two));
  assert.notEqual(digest(one), digest(other));
});

test('planned fill serves more from home than pull-through does', async () => {
  const planned = await result();
  const pulled = await result({ policy: { placement: 'pull-through', admission: 'lru' } });
  assert.ok(planned.totals.offloadShare > pulled.totals.offloadShare + 0.02);
  assert.equal(pulled.totals.fillBytes, 0);
});

test('empty boxes fill up within their windows, never faster', async () => {
  const run = await result({ fleet: { ...scenario().fleet, start: 'empty' } });
  const { nights } = run;
  assert.ok(nights[3].plannedOffloadShare > nights[0].plannedOffloadShare);
  const window = run.sites.reduce((sum, site) => sum + site.appliances, 0) * 0.02e9 * 12 * 450;
  for (const night of nights) assert.ok(night.fillBytes <= window * 1.000001);
});

test('a site that is out is a health miss, and its viewers are served elsewhere', async () => {
  const base = await result();
  const place = { site: base.sites.find((site) => !site.isExchange)?.siteId };
  const run = await result({
    events: [{ kind: 'outage', what: 'site', day: 2, hour: 20, hours: 4, place }],
  });
  const of = (found: SimulationResult): SimulationResult['sites'][number] | undefined =>
    found.sites.find((site) => site.siteId === place.site);
  assert.ok((of(run)?.healthMissShare ?? 0) > (of(base)?.healthMissShare ?? 0) + 0.02);
  assert.equal(run.events[0].sites, 1);
  assert.deepEqual(run.hours.homeBytes.slice(0, 68), base.hours.homeBytes.slice(0, 68));
});

test('a new box comes empty: what it owns is missed until it is filled', async () => {
  const run = await result({ events: [{ kind: 'new-box', day: 1, count: 1 }] });
  const base = await result();
  assert.ok(run.nights[1].fillBytes > base.nights[1].fillBytes);
  assert.ok(run.hours.contentMissBytes[26] > base.hours.contentMissBytes[26]);
});

test('a release that was planned for a tenth of what comes is missed more than one that was foreseen', async () => {
  const event = { kind: 'release', day: 2, name: 'a', firstWeekShare: 0.2 };
  const foreseen = await result({ events: [event] });
  const surprise = await result({ events: [{ ...event, forecastFactor: 0 }] });
  const missed = (run: SimulationResult): number => run.hours.contentMissBytes[70];
  assert.ok(missed(surprise) > missed(foreseen));
});

test('a run that is stopped reports the whole days that it has, marked partial', async () => {
  const stop = new AbortController();
  const run = await runFluid(scenario({ days: 20 }), TOPOLOGY, 1, {
    variant: 'base',
    threads: 1,
    signal: stop.signal,
    onProgress: (share) => {
      if (share > 0) stop.abort();
    },
  });
  assert.ok(run.ok);
  assert.equal(run.value.meta.isPartial, true);
  assert.equal(run.value.hours.homeBytes.length, run.value.meta.hoursDone);
  assert.ok(checkResult(run.value).ok);
});

test('a country that the list does not know leaves no capacity: it is said which it knows', async () => {
  const run = await runFluid(scenario({ fleet: { countries: ['Atlantis'] } }), TOPOLOGY, 1, {
    variant: 'base',
    threads: 1,
  });
  assert.ok(!run.ok);
  assert.match(run.failure, /no site in Atlantis; the list knows .*Brazil/);
});
