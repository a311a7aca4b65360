import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import { generateSigningKey, signCompact, type SigningKey } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { failed, success, type Outcome } from '#base/outcome.ts';
import {
  JWS_TYPE,
  openListing,
  POSSESSION_HEADER,
  signPossession,
  type DenialKind,
  type KeyRing,
} from '#control-plane/contract.ts';
import { DenySet } from '#control-plane/control-plane.ts';
import { signViewerToken } from '#steering/contract.ts';
import { OriginConfigSchema, originRelations, type OriginConfig } from '../config.ts';
import { decodeChunkList, PURPOSE_HEADER, signedContentUrl, type FileId } from '../contract.ts';
import { opaqueBytes, opaqueTitles, parseOpaqueSpec } from '../opaque.ts';
import { OriginStore } from './origin-store.ts';
import { startOrigin, type KeySource, type RunningOrigin } from './origin-server.ts';
import { publishOpaque } from './publishing.ts';
import {
  keySourceOf,
  makeTestKeys,
  signTestGrant,
  TestControlPlane,
  type TestKeys,
} from './test-control-plane.ts';

const SIZE = 1024 * 1024 + 777;
const spec = parseOpaqueSpec(`titles=2;files=${SIZE},900000;seed=21`);
assert.ok(spec.ok);
const content = Buffer.concat([
  ...opaqueBytes(opaqueTitles(spec.value, { titleId: 'title' })[0].files[0].seed, SIZE),
]);

let directory: string;
let keys: TestKeys;
let controlPlane: TestControlPlane;
let origin: RunningOrigin;
let config: OriginConfig;
let baseUrl: string;
let fileA: FileId; // of title-1
let fileB: FileId; // of title-2
let token: string; // for title-1
let grant: string;
let boxKey: SigningKey;
let possession: string;
let denied = new DenySet(0, 0, []);
const nowSeconds = (): number => Math.floor(Date.now() / 1000);

function configOf(stateDir: string, controlPlaneUrl: string, rootFingerprint: string) {
  const listen = { address: '127.0.0.1', port: 0 };
  const checked = withDefaults(OriginConfigSchema, {
    listen,
    admin: listen,
    stateDir,
    controlPlaneUrl,
    rootFingerprint,
    logLevel: 'silent',
  });
  assert.ok(checked.ok);
  return checked.value;
}

function start(source: KeySource): Promise<RunningOrigin> {
  const log = createLogger('origin', 'silent');
  const denials = { current: () => denied };
  return startOrigin({ config, keys: source, denials, clock: systemClock, log });
}

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'nightfill-origin-'));
  keys = await makeTestKeys();
  controlPlane = new TestControlPlane(keys);
  const controlPlaneUrl = await controlPlane.start();
  config = configOf(path.join(directory, 'origin'), controlPlaneUrl, keys.rootFingerprint);
  origin = await start(keySourceOf(keys.ring));
  baseUrl = `http://127.0.0.1:${origin.content.port}`;
  // Published while it runs: the origin sees it without a restart.
  const published = await publishOpaque(
    spec.value,
    { titleId: 'title' },
    { controlPlaneUrl, token: 'publish-token', originDir: config.stateDir },
  );
  assert.ok(published.ok);
  fileA = published.value[0].files[0].fileId;
  fileB = published.value[1].files[0].fileId;
  const scope = { titleId: 'title-1', durationSeconds: 60, home: 'paris', reason: 'home' } as const;
  token = await signViewerToken(keys.token, scope, nowSeconds());
  boxKey = (await generateSigningKey('ES256')).key;
  grant = await signTestGrant(keys, { cnf: { jkt: boxKey.kid } });
  possession = await signPossession(boxKey, 'box-1', 'origin', nowSeconds());
});

after(async () => {
  await origin.close();
  await controlPlane.stop();
  await rm(directory, { recursive: true, force: true });
});

const byToken = (text: string, titleId = 'title-1', fileId = fileA): string =>
  signedContentUrl(baseUrl, text, titleId, fileId);
const byGrant = (purpose?: string): { headers: Record<string, string> } => ({
  headers: {
    authorization: `Bearer ${grant}`,
    [POSSESSION_HEADER]: possession,
    ...(purpose === undefined ? {} : { [PURPOSE_HEADER]: purpose }),
  },
});
const bodyOf = async (answer: Response): Promise<Buffer> => Buffer.from(await answer.arrayBuffer());
const refusalOf = (answer: Response): string | null => answer.headers.get('nightfill-refused');

test('a viewer token in the path gets the whole file, with the tag that every box gives it', async () => {
  const answer = await fetch(byToken(token));
  assert.equal(answer.status, 200);
  assert.deepEqual(await bodyOf(answer), content);
  assert.equal(answer.headers.get('etag'), `"${fileA}"`);
  assert.equal(answer.headers.get('accept-ranges'), 'bytes');
  assert.match(answer.headers.get('cache-control') ?? '', /max-age=31536000, immutable/);
  assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  assert.match(answer.headers.get('access-control-expose-headers') ?? '', /Content-Range/);
  assert.equal(answer.headers.get('timing-allow-origin'), '*');
});

test('a viewer token in the query does as well, and other parameters are not looked at', async () => {
  const url = `${baseUrl}/t/title-1/${fileA}?CMCD=br%3D3200&URISigningPackage=${token}`;
  const answer = await fetch(url, { headers: { range: 'bytes=5-9' } });
  assert.equal(answer.status, 206);
  assert.deepEqual(await bodyOf(answer), content.subarray(5, 10));
});

test('ranges over the chunk edge, to the end and from the end are answered 206 with the right bytes', async () => {
  const table: readonly [range: string, start: number, endInclusive: number][] = [
    ['bytes=1048570-1048580', 1048570, 1048580],
    [`bytes=${SIZE - 10}-`, SIZE - 10, SIZE - 1],
    ['bytes=-10', SIZE - 10, SIZE - 1],
    ['bytes=0-99999999', 0, SIZE - 1],
    ['bytes=0-9,10-19', 0, 19],
  ];
  for (const [range, start, endInclusive] of table) {
    const answer = await fetch(byToken(token), { headers: { range } });
    assert.equal(answer.status, 206, range);
    assert.equal(answer.headers.get('content-range'), `bytes ${start}-${endInclusive}/${SIZE}`);
    assert.equal(answer.headers.get('content-length'), String(endInclusive - start + 1));
    assert.deepEqual(await bodyOf(answer), content.subarray(start, endInclusive + 1), range);
  }
});

test('a range beyond the end is answered 416 with the size', async () => {
  const answer = await fetch(byToken(token), { headers: { range: `bytes=${SIZE}-` } });
  assert.equal(answer.status, 416);
  assert.equal(answer.headers.get('content-range'), `bytes */${SIZE}`);
  assert.equal(answer.headers.get('cache-control'), 'no-store');
  assert.match(await answer.text(), /beyond/);
});

test('a copy that is still good is answered 304; If-Range of another file sends the whole', async () => {
  const headers = { 'if-none-match': `"${fileA}"` };
  const same = await fetch(byToken(token), { headers });
  assert.equal(same.status, 304);
  const other = await fetch(byToken(token), {
    headers: { 'if-range': `"${fileB}"`, range: 'bytes=0-9' },
  });
  assert.equal(other.status, 200);
  assert.equal((await bodyOf(other)).length, SIZE);
});

test('HEAD tells the size and sends nothing; OPTIONS needs no token', async () => {
  const head = await fetch(byToken(token), { method: 'HEAD', headers: { range: 'bytes=0-9' } });
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-length'), String(SIZE));
  assert.equal((await bodyOf(head)).length, 0);
  const preflight = await fetch(`${baseUrl}/t/title-1/${fileA}`, { method: 'OPTIONS' });
  assert.equal(preflight.status, 204);
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /Range/);
  assert.equal((await fetch(byToken(token), { method: 'PUT', body: 'x' })).status, 405);
});

test('a grant gets files, chunk lists and signed listings', async () => {
  const file = await fetch(`${baseUrl}/t/title-1/${fileA}`, byGrant('fill'));
  assert.deepEqual(await bodyOf(file), content);
  const list = await fetch(`${baseUrl}/t/title-1/${fileA}.chunks`, byGrant());
  assert.ok(decodeChunkList(await bodyOf(list), fileA).ok);
  const listing = await fetch(`${baseUrl}/t/title-1/listing`, byGrant());
  assert.equal(listing.headers.get('content-type'), 'application/jose');
  const opened = await openListing(await listing.text(), keys.ring);
  assert.ok(opened.ok);
  assert.ok(opened.value.files.some(({ fileId }) => fileId === fileA));
});

test('every credential that is not good is refused with 403 and its reason, and is not cached', async () => {
  const scope = { titleId: 'title-1', durationSeconds: 60, home: 'paris', reason: 'home' } as const;
  const now = nowSeconds();
  const stranger = (await generateSigningKey('ES256')).key;
  const claims = { iss: 'steering', aud: 'oca', exp: now + 600, cdniuc: 'regex:.*' };
  const unsecured = (header: object): string =>
    `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  const hs256 = unsecured({ alg: 'HS256', kid: keys.token.kid, typ: 'JWT' });
  // The classic attack: the public key, which everybody has, as the secret of an HMAC.
  const secret = JSON.stringify(keys.token.publicJwk);
  const mac = createHmac('sha256', secret).update(hs256).digest('base64url');
  const table: readonly [what: string, text: string, refusal: string][] = [
    ['expired', await signViewerToken(keys.token, scope, now - 8 * 3600), 'token-expired'],
    ['not valid yet', await signViewerToken(keys.token, scope, now + 3600), 'token-not-yet'],
    [
      'of another title',
      await signViewerToken(keys.token, { ...scope, titleId: 'title-2' }, now),
      'token-uri',
    ],
    ['HS256', `${hs256}.${mac}`, 'token-algorithm'],
    ['alg none', `${unsecured({ alg: 'none', typ: 'JWT' })}.`, 'token-algorithm'],
    ['of a stranger', await signViewerToken(stranger, scope, now), 'token-key-unknown'],
    ['with a grant key', await signViewerToken(keys.grant, scope, now), 'token-key-unknown'],
    ['tampered', `${token.slice(0, -3)}AAA`, 'token-signature'],
    ['no token at all', 'rubbish', 'token-malformed'],
  ];
  for (const [what, text, refusal] of table) {
    for (let time = 0; time < 2; time++) {
      const answer = await fetch(byToken(text));
      assert.equal(answer.status, 403, what);
      assert.equal(refusalOf(answer), refusal, what);
      assert.equal(answer.headers.get('cache-control'), 'no-store');
      assert.ok((await answer.text()).startsWith(`${refusal}: `));
    }
  }
});

test('nothing shown, a viewer token as bearer, and a grant that is not good are refused', async () => {
  const url = `${baseUrl}/t/title-1/${fileA}`;
  assert.equal(refusalOf(await fetch(url)), 'token-missing');
  const bearer = (text: string) => fetch(url, { headers: { authorization: `Bearer ${text}` } });
  assert.equal(refusalOf(await bearer(token)), 'grant-invalid');
  const now = nowSeconds();
  assert.equal(
    refusalOf(await bearer(await signTestGrant(keys, { exp: now - 1 }))),
    'grant-expired',
  );
  assert.equal(
    refusalOf(await bearer(await signTestGrant(keys, { nbf: now + 600 }))),
    'grant-not-yet',
  );
  const byToken = await signCompact(keys.token, JWS_TYPE.grant, { iss: 'control-plane' });
  assert.equal(refusalOf(await bearer(byToken)), 'grant-invalid');
  assert.equal(
    refusalOf(await fetch(url, { headers: { authorization: 'Basic eDp5' } })),
    'grant-invalid',
  );
});

test('a grant without the proof of its key, with another box’s, another source’s or an old one is refused', async () => {
  const url = `${baseUrl}/t/title-1/${fileA}`;
  const thief = (await generateSigningKey('ES256')).key;
  const now = nowSeconds();
  const refusal = async (proof: string | null): Promise<string | null> =>
    refusalOf(
      await fetch(url, {
        headers: {
          authorization: `Bearer ${grant}`,
          ...(proof === null ? {} : { [POSSESSION_HEADER]: proof }),
        },
      }),
    );
  assert.equal(await refusal(null), 'possession-missing');
  assert.equal(await refusal('no proof'), 'possession-invalid');
  const byThief = await signPossession(thief, 'box-1', 'origin', now);
  assert.equal(await refusal(byThief), 'possession-invalid', 'a copied grant is worth nothing');
  const elsewhere = await signPossession(boxKey, 'box-1', 'box-2', now);
  assert.equal(await refusal(elsewhere), 'possession-audience');
  const old = await signPossession(boxKey, 'box-1', 'origin', now - 100);
  assert.equal(await refusal(old), 'possession-stale');
  assert.equal(await refusal(possession), null);
});

test('what is denied is refused to viewers and boxes, and a revoked box gets nothing', async () => {
  const deny = (kind: DenialKind, value: string): void => {
    denied = new DenySet(1, 1, [{ id: 1, kind, value, sinceMs: 1 }]);
  };
  deny('title', 'title-1');
  assert.equal(refusalOf(await fetch(byToken(token))), 'title-denied');
  assert.equal(refusalOf(await fetch(`${baseUrl}/t/title-1/${fileA}`, byGrant())), 'title-denied');
  deny('file', fileA);
  assert.equal(refusalOf(await fetch(byToken(token))), 'file-denied');
  deny('key', keys.token.kid);
  assert.equal(refusalOf(await fetch(byToken(token))), 'token-key-denied');
  deny('appliance', 'box-1');
  assert.equal(refusalOf(await fetch(`${baseUrl}/t/title-1/${fileA}`, byGrant())), 'grant-revoked');
  denied = new DenySet(2, 2, []);
  assert.equal((await fetch(byToken(token))).status, 200);
});

test('a token of title A on a file of B is refused, and so is a grant', async () => {
  const viewer = await fetch(byToken(token, 'title-1', fileB));
  assert.equal(viewer.status, 403);
  assert.equal(refusalOf(viewer), 'file-not-of-title');
  const box = await fetch(`${baseUrl}/t/title-1/${fileB}`, byGrant());
  assert.equal(refusalOf(box), 'file-not-of-title');
});

test('viewers do not get chunk lists or listings', async () => {
  for (const last of [`${fileA}.chunks`, 'listing']) {
    const answer = await fetch(`${baseUrl}/;URISigningPackage=${token}/t/title-1/${last}`);
    assert.equal(refusalOf(answer), 'grant-needed');
  }
});

test('what is not here is 404 for those who may ask', async () => {
  assert.equal((await fetch(`${baseUrl}/t/nobody/${fileA}`, byGrant())).status, 404);
  assert.equal((await fetch(`${baseUrl}/t/nobody/listing`, byGrant())).status, 404);
  assert.equal((await fetch(`${baseUrl}/`, byGrant())).status, 404);
  assert.equal((await fetch(`${baseUrl}/t/..%2f..%2fetc/passwd`, byGrant())).status, 404);
});

test('a file of the wrong size on disk is 404, never served', async () => {
  const second = (await new OriginStore(config.stateDir).readRecord('title-2'))?.listing.files[1];
  assert.ok(second !== undefined);
  const url = `${baseUrl}/t/title-2/${second.fileId}`;
  assert.equal((await fetch(url, byGrant())).status, 200);
  await appendFile(new OriginStore(config.stateDir).filePath(second.fileId), 'x');
  const answer = await fetch(url, byGrant());
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /damaged/);
});

test('bytes are counted by purpose, and status and metrics agree', async () => {
  const admin = `http://127.0.0.1:${origin.admin.port}`;
  const read = async () =>
    (await (await fetch(`${admin}/status`)).json()) as Record<string, number>;
  const first = await read();
  const url = `${baseUrl}/t/title-1/${fileA}`;
  const range = (endInclusive: number, init: { headers?: object } = {}) => ({
    headers: { ...init.headers, range: `bytes=0-${endInclusive}` },
  });
  await bodyOf(await fetch(url, range(99, byGrant('fill'))));
  await bodyOf(await fetch(url, range(199, byGrant('miss'))));
  await bodyOf(await fetch(url, range(399, byGrant()))); // says nothing: on demand
  await bodyOf(await fetch(byToken(token), range(799)));
  const second = await read();
  assert.equal(second['fillBytes'] - first['fillBytes'], 100);
  assert.equal(second['missBytes'] - first['missBytes'], 600);
  assert.equal(second['viewerBytes'] - first['viewerBytes'], 800);
  assert.equal(second['serveBytes'], second['missBytes'] + second['viewerBytes']);
  const metrics = await (await fetch(`${admin}/metrics`)).text();
  assert.ok(
    metrics.includes(`nightfill_origin_sent_bytes_total{purpose="fill"} ${second['fillBytes']}`),
  );
  assert.match(metrics, /nightfill_origin_refused_total\{reason="token-expired"\} \d/);
  assert.equal((await fetch(`${admin}/nothing`)).status, 404);
});

test('a client that leaves in the middle costs nothing but what was on its way', async () => {
  await new Promise<void>((resolve, reject) => {
    const asking = request(byToken(token), (answer) => {
      answer.once('data', () => {
        answer.destroy();
        resolve();
      });
    });
    asking.on('error', reject);
    asking.end();
  });
  assert.equal((await fetch(byToken(token))).status, 200);
});

test('a request line that is no HTTP is refused and the origin lives on', async () => {
  const answer = await new Promise<string>((resolve) => {
    const socket = connect(origin.content.port, '127.0.0.1', () => socket.write('\0\0\r\n\r\n'));
    let text = '';
    socket.on('data', (bytes) => (text += bytes.toString('latin1')));
    socket.on('close', () => resolve(text));
  });
  assert.match(answer, /400/);
  assert.equal((await fetch(byToken(token))).status, 200);
});

test('without keys everybody is refused with the reason, until the keys come', async () => {
  let ring: KeyRing | null = null;
  let asked = 0;
  const source: KeySource = {
    current: () => ring,
    refresh: (): Promise<Outcome<KeyRing>> => {
      asked++;
      return Promise.resolve(
        ring === null
          ? failed({ code: 'refused', source: 'network', retry: 'same-source', detail: 'down' })
          : success(ring),
      );
    },
  };
  const other = await start(source);
  try {
    const url = signedContentUrl(`http://127.0.0.1:${other.content.port}`, token, 'title-1', fileA);
    for (let time = 0; time < 3; time++) {
      const answer = await fetch(url);
      assert.equal(answer.status, 403);
      assert.equal(refusalOf(answer), 'keys-missing');
      assert.match(await answer.text(), /no keys yet/);
    }
    assert.equal(asked, 1, 'an empty key ring is not asked for at each request');
    ring = keys.ring;
    assert.equal((await fetch(url, { method: 'HEAD' })).status, 200);
  } finally {
    await other.close();
  }
});

test('a listing that a publish could not keep is fetched by the origin and kept', async () => {
  const store = new OriginStore(config.stateDir);
  await rm(store.listingPath('title-2'));
  const answer = await fetch(`${baseUrl}/t/title-2/listing`, byGrant());
  assert.equal(answer.status, 200);
  assert.ok((await openListing(await answer.text(), keys.ring)).ok);
  assert.ok((await store.readListing('title-2')) !== null);
  assert.deepEqual(await readdir(path.join(config.stateDir, 'tmp')), []);
});

test('an address in use is an error that names it', async () => {
  const taken = { ...config, listen: { address: '127.0.0.1', port: origin.content.port } };
  const log = createLogger('origin', 'silent');
  await assert.rejects(
    startOrigin({ config: taken, keys: keySourceOf(keys.ring), clock: systemClock, log }),
    /EADDRINUSE.*127\.0\.0\.1/,
  );
});

test('an admin listener beyond loopback is refused before anything starts', () => {
  const open = { ...config, admin: { address: '0.0.0.0', port: 0 } };
  assert.match(originRelations(open).join(), /not loopback/);
  assert.deepEqual(originRelations(config), []);
});
