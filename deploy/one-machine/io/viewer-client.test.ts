import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import type { PlayUrl } from '#steering/contract.ts';
import { etagOf } from '#upstream/contract.ts';
import { ViewerClient } from './viewer-client.ts';

const FILE_ID = 'A'.repeat(43);
const CONTENT = Buffer.from(Array.from({ length: 500_000 }, (_, at) => at % 251));

type Behaviour = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;
const servers: Server[] = [];

/** A box that answers ranges of CONTENT, then behaves as told. */
async function box(
  pathwayId: string,
  behaviour: Behaviour,
  etag = etagOf(FILE_ID),
): Promise<PlayUrl> {
  const server = createServer((request, response) => {
    const match = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
    assert.ok(match);
    const [start, end] = [Number(match[1]), Number(match[2])];
    response.statusCode = 206;
    response.setHeader('etag', etag);
    response.setHeader('content-range', `bytes ${start}-${end}/${CONTENT.length}`);
    response.setHeader('content-length', end - start + 1);
    behaviour(request, response, CONTENT.subarray(start, end + 1));
  });
  servers.push(server);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/t/x/${FILE_ID}`, pathwayId, kind: 'appliance' };
}

after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

const honest: Behaviour = (_request, response, body) => {
  response.end(body);
};

async function download(
  urls: readonly PlayUrl[],
): Promise<{ bytes: Buffer; path: string[]; why: string[] }> {
  const client = new ViewerClient({ rateBytesPerSecond: 1e9 });
  const parts: Buffer[] = [];
  const path: string[] = [];
  try {
    const switches = await client.download(
      {
        fileId: FILE_ID,
        sizeBytes: CONTENT.length,
        urls,
        start: 0,
        endInclusive: CONTENT.length - 1,
      },
      (bytes, pathwayId) => {
        parts.push(bytes);
        if (path.at(-1) !== pathwayId) path.push(pathwayId);
      },
    );
    return { bytes: Buffer.concat(parts), path, why: switches.map((one) => one.why) };
  } finally {
    await client.close();
  }
}

test('a box that breaks off mid-body is left at that byte, and the next one goes on', async () => {
  const dying = await box('dying', (_request, response, body) => {
    response.write(body.subarray(0, 100_000), () => response.destroy());
  });
  const { bytes, path } = await download([dying, await box('healthy', honest)]);
  assert.ok(bytes.equals(CONTENT), 'joined bytes are the file');
  assert.deepEqual(path, ['dying', 'healthy']);
});

test('an answer with another ETag is never spliced in', async () => {
  const other = await box('other', honest, '"something else"');
  const { bytes, path, why } = await download([other, await box('healthy', honest)]);
  assert.ok(bytes.equals(CONTENT));
  assert.deepEqual(path, ['healthy']);
  assert.match(why[0], /etag "something else"/);
});

test('a refusal with a short body that nobody reads ends that answer alone, not the process', async () => {
  const refusing = await box('refusing', (_request, response) => {
    response.statusCode = 403;
    response.setHeader('nightfill-refused', 'denied');
    response.setHeader('content-length', 6);
    response.end('denied'); // all of it is here before it is looked at
  });
  const { bytes, path, why } = await download([refusing, await box('healthy', honest)]);
  assert.ok(bytes.equals(CONTENT));
  assert.deepEqual(path, ['healthy']);
  assert.match(why[0], /403 denied/);
  await new Promise((resolve) => setTimeout(resolve, 50)); // an error that nobody heard would come now
});

test('when every URL fails the error names each of them and its reason', async () => {
  const dead: PlayUrl = {
    url: `http://127.0.0.1:1/t/x/${FILE_ID}`,
    pathwayId: 'dead',
    kind: 'appliance',
  };
  await assert.rejects(
    download([dead]),
    /no URL gave bytes 0-499999.*dead at byte 0: ECONNREFUSED/,
  );
});
