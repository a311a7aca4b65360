import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleSite } from './test-examples.ts';
import { Rig } from './test-rig.ts';

test('how a site wishes its clusters to be reached is kept over a restart and told to steering', async (t) => {
  const rig = await Rig.start(t);
  const [cluster] = exampleSite('paris').clusters;
  const wish = {
    ...cluster,
    linkClass: 'public-peering' as const,
    preference: 5,
    parent: 'metro',
  };
  assert.equal((await rig.putSite({ clusters: [wish] })).status, 201);
  await rig.restart();
  const told = (await rig.follow()).snapshot.clusters[0];
  assert.deepEqual([told.linkClass, told.preference], ['public-peering', 5]);
  const listed = await rig.call('GET', '/v1/sites', 'operator');
  const [site] = listed.body['sites'] as { clusters: { parent?: string }[] }[];
  assert.equal(site.clusters[0].parent, 'metro');
});
