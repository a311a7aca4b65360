import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { createDenialFeed, type DenialFeed } from './denial-feed.ts';
import { exampleListing } from './test-examples.ts';
import { Rig, until } from './test-rig.ts';

test('a feed follows the deny list, keeps it without the control plane, and takes no altered one', async (t) => {
  const rig = await Rig.start(t);
  await rig.publish(exampleListing('film', ['a']));
  const lastGoodPath = path.join(rig.directory, 'denials.jws');
  const feedOf = (controlPlaneUrl: string): DenialFeed => {
    const log = createLogger('test', 'silent');
    const feed = createDenialFeed({
      controlPlaneUrl,
      keys: () => rig.ring,
      lastGoodPath,
      clock: systemClock,
      log,
    });
    t.after(() => feed.stop());
    return feed;
  };
  const feed = feedOf(rig.url);
  await feed.start();
  assert.equal(feed.current().version, 0);
  const denial = { kind: 'title', value: 'film', reason: 'why' };
  await rig.call('POST', '/v1/denials', 'operator', denial);
  await until('the feed to follow', () => feed.current().has('title', 'film'));

  const nowhere = 'http://127.0.0.1:1';
  const alone = feedOf(nowhere);
  await alone.start();
  assert.equal(alone.current().has('title', 'film'), true, 'from the disk');
  feed.stop();
  const text = readFileSync(lastGoodPath, 'latin1');
  writeFileSync(lastGoodPath, `${text.slice(0, -6)}AAAAAA`);
  const fooled = feedOf(nowhere);
  await fooled.start();
  assert.equal(fooled.current().version, 0);
});
