import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { seededRandom } from '#base/random.ts';
import { CHUNK_BYTES, encodeChunkList, fileIdOf } from '#upstream/contract.ts';
import { exampleSnapshot } from '../example-fleet.ts';
import { createFleet, type Fleet } from '../fleet.ts';
import { HashProbe } from './hash-probe.ts';

const content = Buffer.alloc(2 * CHUNK_BYTES + 77, 'nightfill');
const hashes = [0, 1, 2].map((chunk) =>
  createHash('sha256')
    .update(content.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES))
    .digest(),
);
const chunkList = encodeChunkList(content.length, Buffer.concat(hashes));
const fileId = fileIdOf(chunkList);

interface Box {
  readonly fleet: Fleet;
  serve: 'right' | 'wrong' | 'short' | 'wrong list' | 'nothing';
}

/** A box that holds one file of the example's title, and may lie about its bytes. */
async function startBox(context: TestContext): Promise<Box> {
  let box: Box | null = null;
  const server = http.createServer((request, response) => {
    const serve = box?.serve ?? 'nothing';
    if (serve === 'nothing') return response.writeHead(404).end();
    if (request.url?.endsWith('.chunks') === true) {
      return response.end(serve === 'wrong list' ? Buffer.alloc(chunkList.length) : chunkList);
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const bytes = Buffer.from(content.subarray(Number(range?.[1]), Number(range?.[2]) + 1));
    if (serve === 'wrong') bytes[bytes.length >> 1] ^= 1;
    return response.writeHead(206).end(serve === 'short' ? bytes.subarray(1) : bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const snapshot = exampleSnapshot({
    appliances: { 'lyon-a': { baseUrl: `http://127.0.0.1:${port}` } },
    holdings: { 'lyon-a': [0], 'lyon-b': [] },
  });
  const [title] = snapshot.titles;
  const files = [{ fileId, ordinal: 0, sizeBytes: content.length }];
  box = { fleet: createFleet({ ...snapshot, titles: [{ ...title, files }] }), serve: 'right' };
  return box;
}

test('a chunk is read like a viewer would and hashed; what does not answer is nothing that it says', async (context) => {
  const box = await startBox(context);
  const said: [string, string | null][] = [];
  const probe = new HashProbe({
    nodeId: 'one',
    nodeIds: () => ['one'],
    clock: systemClock,
    random: seededRandom(4),
    fleet: () => box.fleet,
    tokenFor: () => Promise.resolve('token'),
    onResult: (applianceId, problem) => said.push([applianceId, problem]),
  });
  context.after(() => probe.stop());
  const look = async (serve: Box['serve'], index = 0): Promise<string | null | undefined> => {
    box.serve = serve;
    said.length = 0;
    await probe.probe(box.fleet, box.fleet.appliances[index]);
    assert.ok(said.length <= 1 && said.every(([id]) => id === 'lyon-a'));
    return said.length === 0 ? undefined : said[0][1];
  };
  for (let times = 0; times < 5; times++) assert.equal(await look('right'), null);
  assert.match((await look('wrong')) ?? '', /chunk \d of .* is not what its hash says/);
  assert.match((await look('short')) ?? '', /chunk/);
  assert.match((await look('wrong list')) ?? '', /chunk list/);
  assert.equal(await look('nothing'), undefined);
  assert.equal(await look('right', 1), undefined, 'a box that holds nothing');
});
