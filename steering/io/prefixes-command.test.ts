import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { previewPrefixes, type PreviewOptions } from './prefixes-command.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-prefixes-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const site = (siteId: string) => ({
  siteId,
  name: siteId,
  country: 'FR',
  fillWindow: { startLocal: '02:00', hours: 12, timeZone: 'UTC' },
  clusters: [],
  routes: { originAs: [64_500] },
});
const FLEET = {
  clusters: [
    { clusterId: 'paris', siteId: 'paris', country: 'FR', prefixes: ['23.0.0.0/16'] },
    {
      clusterId: 'lyon',
      siteId: 'lyon',
      country: 'FR',
      prefixes: [],
      learned: [['23.0.0.0/15', 5]],
    },
  ],
  sites: [
    { site: site('paris'), viewerBps: 8e9, capacityBps: 1e10 },
    { site: site('lyon'), viewerBps: 4e9, capacityBps: 5e9 },
  ],
};

function fileOf(name: string, content: string | Buffer): string {
  const file = path.join(directory, name);
  writeFileSync(file, content);
  return file;
}

const fleet = fileOf('fleet.json', JSON.stringify(FLEET));

async function previewed(file: string, over: Partial<PreviewOptions> = {}): Promise<string> {
  const lines: string[] = [];
  const write = console.log;
  console.log = (text: string) => lines.push(text);
  try {
    await previewPrefixes(file, { fleet, ipv6Share: '0.3', ...over });
  } finally {
    console.log = write;
  }
  return lines.join('\n');
}

test('a text file: what moves, what overflows, what loses its backup, what the policy refuses', async () => {
  const change = fileOf(
    'change.txt',
    '24.0.0.0/16 lyon\n23.0.1.0/24 lyon as-path=64500\n25.0.0.0/16 lyon as-path=1\n',
  );
  const text = await previewed(change);
  assert.match(
    text,
    /lyon: 4000\.0 Mbit\/s -> 0\.0 Mbit\/s \(-4000\.0 Mbit\/s\) of 5000\.0 Mbit\/s/,
  );
  assert.match(text, /in nobody’s prefix then: 4000\.0 Mbit\/s/);
  assert.match(text, /lose their backup: 1\n {2}23\.0\.0\.0\/16 \(paris, 8000\.0 Mbit\/s\)/);
  assert.match(text, /quarantine: 2/);
  assert.match(text, /25\.0\.0\.0\/16 at lyon, origin-not-allowed/);
  assert.match(text, /23\.0\.1\.0\/24 at lyon, prefix-of-other-site/);
});

test('an MRT dump is what one site’s router holds, the best route of each prefix', async () => {
  // PEER_INDEX_TABLE with AS64500; 24.0.0.0/16, path 64499 64500.
  const dump = Buffer.from(
    '00000000000d0001000000197f00000800046973703400010200000001c00002010000fbf4' +
      '00000000000d00020000002200000001101800000100000000000000114001010040020a02020000fbf30000fbf4',
    'hex',
  );
  const file = fileOf('dump.mrt', dump);
  await assert.rejects(previewed(file), /say by --site whose routers hold it/);
  const result = JSON.parse(await previewed(file, { site: 'lyon', json: true })) as {
    homelessBps: number;
    quarantined: unknown[];
  };
  assert.deepEqual(result.quarantined, []);
  assert.equal(result.homelessBps, 4e9, 'Lyon has 24.0.0.0/16 only from then on');
});

test('a file that cannot be used says where and why', async () => {
  await assert.rejects(
    previewed(fileOf('bad.txt', '23.0.0.1/16 paris\n')),
    /line 1: "23\.0\.0\.1\/16" is no prefix/,
  );
  await assert.rejects(
    previewed(fileOf('who.txt', '23.0.0.0/16 rome\n')),
    /no such site or cluster: rome/,
  );
});
