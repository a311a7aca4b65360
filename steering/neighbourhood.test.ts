import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom, type Random } from '#base/random.ts';
import { neighbourhoodOf, type FleetCluster } from './neighbourhood.ts';

const KEPT = 128;

function clustersOf(random: Random, count: number): readonly FleetCluster[] {
  return Array.from({ length: count }, (_, index): FleetCluster => {
    return {
      index,
      clusterId: `c${random.below(1e9)}-${index}`,
      siteId: `s${random.below(count)}`,
      country: `C${random.below(5)}`,
      // Some nowhere, some at the very same place.
      point:
        random.below(10) === 0
          ? null
          : { latitude: random.below(40) - 20, longitude: random.below(60) * 6 - 180 },
      linkClass: 'embedded',
      preference: 0,
      members: [],
    };
  });
}

/** Metres over the ground, by another formula than the one that is tested; unknown places are further than any. */
function metres(a: FleetCluster['point'], b: FleetCluster['point']): number {
  if (a === null || b === null) return Infinity;
  const radians = Math.PI / 180;
  const [dLat, dLon] = [b.latitude - a.latitude, b.longitude - a.longitude].map((d) => d * radians);
  const h =
    Math.sin(dLat / 2) ** 2 +
    Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * Math.sin(dLon / 2) ** 2;
  return 2 * 6_371_000 * Math.asin(Math.min(1, Math.sqrt(h)));
}

test('neighbours: the same site, then the same country, then by distance; the short lists are the beginning of the whole one', () => {
  const random = seededRandom(3);
  for (let round = 0; round < 20; round++) {
    const clusters = clustersOf(random, 20 + random.below(800));
    const neighbourhood = neighbourhoodOf(clusters);
    const home = random.below(clusters.length);
    const { country, siteId, point } = clusters[home];
    const all = [...neighbourhood.all(home, country)];
    assert.deepEqual(
      all.toSorted((a, b) => a - b),
      clusters.map(({ index }) => index),
    );
    const group = (at: number): number =>
      clusters[at].siteId === siteId ? 0 : clusters[at].country === country ? 1 : 2;
    for (let place = 1; place < all.length; place++) {
      const [before, after] = [all[place - 1], all[place]];
      assert.ok(group(before) <= group(after));
      if (group(before) < group(after)) continue;
      const [near, far] = [
        metres(point, clusters[before].point),
        metres(point, clusters[after].point),
      ];
      assert.ok(near <= far + 1 || near === far, `${near} m before ${far} m`);
    }
    assert.deepEqual([...neighbourhood.nearest(home, country)], all.slice(0, KEPT));
    const inCountry = all.filter((at) => group(at) < 2).slice(0, KEPT);
    assert.deepEqual([...neighbourhood.inCountry(home, country)], inCountry);
  }
});

test('of equally far clusters the order is by id, however the list begins', () => {
  const random = seededRandom(4);
  const clusters = clustersOf(random, 600).map((cluster) => ({
    ...cluster,
    point: null,
    country: 'C',
  }));
  const ids = [...neighbourhoodOf(clusters).nearest(null, 'C')].map((at) => clusters[at].clusterId);
  assert.deepEqual(
    ids,
    clusters
      .map(({ clusterId }) => clusterId)
      .sort()
      .slice(0, KEPT),
  );
});
