import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { before, test, type TestContext } from 'node:test';
import { sleep, systemClock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import { callJson } from '#base/io/http-client.ts';
import { generateSigningKey, signCompact, type SigningKey } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { seededRandom } from '#base/random.ts';
import {
  JWS_TYPE,
  openKeys,
  type FleetDelta,
  type FleetSnapshot,
  type KeyRing,
} from '#control-plane/contract.ts';
import { parseContentPath } from '#upstream/contract.ts';
import { SteeringConfigSchema, type SteeringConfig } from '../config.ts';
import {
  checkPlayAnswer,
  checkSteeringManifest,
  verifyViewerToken,
  type PlayAnswer,
} from '../contract.ts';
import { replay } from '../decision-log.ts';
import { EXAMPLE_FILES, EXAMPLE_TITLE, exampleSnapshot } from '../example-fleet.ts';
import { blobSecretOf } from '../session-blob.ts';
import { createSteering, type SteeringService } from './steering-service.ts';

const HOST = '127.77.40.1';
const PLAYBACK = 'playback-secret';
const OPERATOR = 'operator-secret';

// ---------------------------------------------------------------- a control plane that only streams

class StreamingControlPlane {
  readonly #server: http.Server;
  readonly #streams = new Set<http.ServerResponse>();
  readonly #signer: SigningKey;
  snapshot: FleetSnapshot;
  port = 0;
  connections = 0;

  constructor(signer: SigningKey, snapshot: FleetSnapshot) {
    this.#signer = signer;
    this.snapshot = snapshot;
    this.#server = http.createServer((request, response) => {
      if (request.headers.authorization !== 'Bearer cp-token') {
        response.writeHead(401).end();
        return;
      }
      this.connections++;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      this.#streams.add(response);
      response.on('close', () => this.#streams.delete(response));
      void this.#send(response, this.snapshot);
    });
  }

  async listen(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, HOST, resolve));
    this.port = (this.#server.address() as net.AddressInfo).port;
  }

  /** Sends a delta to everybody. What a new connection gets is `snapshot`, which the test keeps in step. */
  async push(
    message: FleetSnapshot | FleetDelta,
    signer = this.#signer,
    charactersLost = 0,
  ): Promise<void> {
    for (const stream of this.#streams) await this.#send(stream, message, signer, charactersLost);
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #send(
    stream: http.ServerResponse,
    message: FleetSnapshot | FleetDelta,
    signer = this.#signer,
    charactersLost = 0,
  ): Promise<void> {
    const text = await signCompact(signer, JWS_TYPE.snapshot, message);
    const sent = text.slice(0, text.length - charactersLost);
    stream.write(`: keepalive\n\nevent: fleet\ndata: ${sent}\n\n`);
  }
}

/** A box as far as a probe can tell. */
class Box {
  readonly #server = http.createServer((_request, response) => response.writeHead(404).end());
  readonly address: string;
  readonly port: number;

  constructor(address: string, port: number) {
    this.address = address;
    this.port = port;
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.port, this.address, resolve));
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

let manifestKey: SigningKey;
let strangerKey: SigningKey;
let tokenKey: SigningKey;
let ring: KeyRing;

before(async () => {
  const root = await generateSigningKey('EdDSA');
  const manifest = await generateSigningKey('EdDSA');
  const token = await generateSigningKey('ES256');
  manifestKey = manifest.key;
  tokenKey = token.key;
  strangerKey = (await generateSigningKey('EdDSA')).key;
  const online = await signCompact(root.key, JWS_TYPE.onlineKeys, {
    version: 1,
    issuedAtMs: Date.now(),
    keys: [
      {
        kid: manifestKey.kid,
        use: 'manifest',
        issuer: 'control-plane',
        jwk: manifestKey.publicJwk,
      },
      { kid: tokenKey.kid, use: 'token', issuer: 'steering', jwk: tokenKey.publicJwk },
    ],
  });
  const opened = await openKeys({ root: root.key.publicJwk, online }, root.key.kid);
  assert.ok(opened.ok);
  ring = opened.value;
});

interface Rig {
  readonly controlPlane: StreamingControlPlane;
  readonly config: SteeringConfig;
  service: SteeringService;
  url: string;
  dnsPort: number;
  restart(): Promise<void>;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url');

async function rig(context: TestContext, snapshot = exampleSnapshot()): Promise<Rig> {
  const controlPlane = new StreamingControlPlane(manifestKey, {
    ...snapshot,
    issuedAtMs: Date.now(),
  });
  await controlPlane.listen();
  const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-steering-'));
  const config = withDefaults(SteeringConfigSchema, {
    listen: { address: HOST, port: 0 },
    publicUrl: `http://${HOST}:9000`,
    stateDir,
    controlPlaneUrl: `http://${HOST}:${controlPlane.port}`,
    controlPlaneToken: 'cp-token',
    rootFingerprint: 'a'.repeat(43),
    tokenKeyFile: 'unused',
    serviceTokens: [
      { name: 'playback', role: 'playback', sha256: sha256(PLAYBACK) },
      { name: 'operator', role: 'operator', sha256: sha256(OPERATOR) },
    ],
    dns: { address: HOST, port: 0, zone: 'cdn.test' },
    probe: { periodMs: 100 },
  });
  assert.ok(config.ok);
  const rig: Rig = {
    controlPlane,
    config: config.value,
    service: make(config.value),
    url: '',
    dnsPort: 0,
    async restart() {
      await this.service.stop();
      this.service = make(this.config);
      await begin();
    },
  };
  const begin = async (): Promise<void> => {
    const { httpPort, dnsPort } = await rig.service.start();
    rig.url = `http://${HOST}:${httpPort}`;
    rig.dnsPort = dnsPort;
  };
  await begin();
  context.after(async () => {
    await rig.service.stop();
    await controlPlane.stop().catch(() => undefined);
    rmSync(stateDir, { recursive: true, force: true });
  });
  return rig;
}

function make(config: SteeringConfig): SteeringService {
  return createSteering({
    config,
    clock: systemClock,
    random: seededRandom(1),
    log: createLogger('steering', 'silent'),
    signingKey: tokenKey,
    blobSecret: blobSecretOf('AQID'),
    keys: { current: () => ring, refresh: () => Promise.resolve() },
  });
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await holds()) return;
    await sleep(systemClock, 10);
  }
  assert.fail(`never came true: ${what}`);
}

interface Status {
  readonly controlPlane: { isGone: boolean; lastRefusal: string | null };
  readonly snapshot: { version: number; fromDisk: boolean; receivedAgeMs: number } | null;
  readonly appliances: { applianceId: string; evidence: string; heartbeatAgeMs: number }[];
}

async function statusOf(rig: Rig): Promise<Status> {
  const answer = await callJson({ method: 'GET', url: `${rig.url}/status`, deadlineMs: 2000 });
  assert.ok(answer.ok);
  return answer.value.body as Status;
}

const hasVersion = (rig: Rig, version: number) => async () =>
  (await statusOf(rig)).snapshot?.version === version;

async function post(
  rig: Rig,
  body: unknown,
  bearer = PLAYBACK,
): Promise<{ status: number; body: unknown }> {
  const answer = await callJson({
    method: 'POST',
    url: `${rig.url}/v1/play`,
    body,
    bearer,
    deadlineMs: 2000,
  });
  assert.ok(answer.ok);
  return answer.value;
}

const REQUEST = { titleId: EXAMPLE_TITLE, clientAddress: '10.1.2.3', session: 's1' };

async function play(rig: Rig, request: object = REQUEST): Promise<PlayAnswer> {
  const { status, body } = await post(rig, request);
  assert.equal(status, 200, JSON.stringify(body));
  const checked = checkPlayAnswer(body);
  assert.ok(checked.ok, JSON.stringify(checked));
  return checked.value;
}

// ---------------------------------------------------------------- tests

test('a play request gets ranked URLs whose tokens verify, and a steering URL that answers', async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  const answer = await play(it);
  assert.equal(answer.home, 'lyon-1');
  assert.equal(answer.files.length, EXAMPLE_FILES.length);
  const [file] = answer.files;
  assert.equal(file.urls.at(-1)?.kind, 'origin');
  const url = new URL(file.urls[0].url);
  const location = parseContentPath(url.pathname);
  assert.ok(location?.token != null);
  const token = await verifyViewerToken(location.token, ring, Date.now() / 1000);
  assert.ok(token.ok);
  assert.deepEqual([token.value.home, token.value.reason], ['lyon-1', 'home']);
  assert.ok(token.value.covers(`${url.origin}${location.path}`));
  assert.ok(!token.value.covers(`${url.origin}/t/other/${EXAMPLE_FILES[0]}`));
  // One token for the whole answer: one reason.
  const tokens = answer.files.flatMap(({ urls }) =>
    urls.map((one) => parseContentPath(new URL(one.url).pathname)?.token),
  );
  assert.equal(new Set(tokens).size, 1);

  const steering = await fetch(
    `${it.url}${new URL(answer.steering.hls).pathname}?_HLS_pathway=lyon-a&_HLS_throughput=1`,
  );
  assert.equal(steering.status, 200);
  assert.equal(steering.headers.get('content-type'), 'application/vnd.apple.steering-list');
  assert.equal(steering.headers.get('cache-control'), 'no-store');
  assert.equal(steering.headers.get('access-control-allow-origin'), '*');
  const manifest = checkSteeringManifest(await steering.json());
  assert.ok(manifest.ok);
  assert.deepEqual(
    manifest.value['PATHWAY-PRIORITY'],
    file.urls.map(({ pathwayId }) => pathwayId),
  );
  assert.equal(manifest.value['RELOAD-URI'], answer.steering.hls);
  const dash = await fetch(`${it.url}${new URL(answer.steering.dash).pathname}`);
  assert.equal(
    ((await dash.json()) as { 'RELOAD-URI': string })['RELOAD-URI'],
    answer.steering.dash,
  );
});

test('an origin token of a miss elsewhere says why the client is not at home', async (context) => {
  const it = await rig(
    context,
    exampleSnapshot({ holdings: { 'lyon-a': [], 'lyon-b': [], 'paris-a': [0], 'oslo-a': [0] } }),
  );
  await until('the snapshot is taken', hasVersion(it, 7));
  const answer = await play(it);
  assert.deepEqual(
    answer.files.map(({ reason }) => reason),
    ['content', 'home', 'home'],
  );
  const tokens = new Set(
    answer.files.map(({ urls }) => parseContentPath(new URL(urls[0].url).pathname)?.token),
  );
  assert.equal(tokens.size, 2, 'one token per distinct reason');
});

test('requests that are not right are refused with all that is wrong', async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  const cases: readonly [string, unknown, string, number, RegExp][] = [
    ['no token', REQUEST, 'nonsense', 401, /role \\"playback\\"/],
    ['a token of another role', REQUEST, OPERATOR, 401, /playback/],
    ['unknown title', { ...REQUEST, titleId: 'nope' }, PLAYBACK, 404, /unknown-title/],
    ['unknown file', { ...REQUEST, fileIds: ['x'.repeat(43)] }, PLAYBACK, 404, /unknown-file/],
    ['no address', { ...REQUEST, clientAddress: 'here' }, PLAYBACK, 400, /no IPv4 or IPv6/],
    [
      'two problems',
      { titleId: '!', clientAddress: '10.0.0.1', extra: 1 },
      PLAYBACK,
      400,
      /titleId.*extra|extra.*titleId/s,
    ],
  ];
  for (const [title, body, bearer, status, words] of cases) {
    const answer = await post(it, body, bearer);
    assert.equal(answer.status, status, title);
    assert.match(JSON.stringify(answer.body), words, title);
  }
  const text = await fetch(`${it.url}/v1/play`, {
    method: 'POST',
    headers: { authorization: `Bearer ${PLAYBACK}`, 'content-type': 'application/json' },
    body: '{"titleId":',
  });
  assert.equal(text.status, 400);
  const huge = await fetch(`${it.url}/v1/play`, {
    method: 'POST',
    headers: { authorization: `Bearer ${PLAYBACK}`, 'content-type': 'application/json' },
    body: JSON.stringify({ x: 'y'.repeat(100_000) }),
  });
  assert.equal(huge.status, 413);
  assert.equal((await fetch(`${it.url}/elsewhere`)).status, 404);
});

test('players always get 200 and a list, whatever they ask with', async (context) => {
  const it = await rig(context);
  for (const target of [
    '/v1/hls/garbage',
    '/v1/dash/%00%01',
    `/v1/hls/${'x'.repeat(1500)}`,
    '/v1/hls/a.b?_HLS_pathway=%ff',
  ]) {
    const answer = await fetch(`${it.url}${target}`);
    assert.equal(answer.status, 200, target);
    assert.ok(checkSteeringManifest(await answer.json()).ok, target);
  }
  const preflight = await fetch(`${it.url}/v1/hls/x`, { method: 'OPTIONS' });
  assert.equal(preflight.status, 204);
  assert.match(preflight.headers.get('access-control-allow-methods') ?? '', /GET/);
});

test('a delta moves clients at once; a stale, foreign or broken message changes nothing', async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  const [lyonA] = it.controlPlane.snapshot.appliances;
  const delta: FleetDelta = {
    kind: 'delta',
    version: 8,
    baseVersion: 7,
    epoch: 1,
    issuedAtMs: Date.now(),
    prefixesVersion: 3,
    appliances: [{ ...lyonA, standing: 'draining' }],
    appliancesRemoved: [],
    holdings: [],
    titles: [],
    titlesRemoved: [],
  };
  it.controlPlane.snapshot = {
    ...it.controlPlane.snapshot,
    version: 8,
    appliances: it.controlPlane.snapshot.appliances.map((one) =>
      one === lyonA ? delta.appliances[0] : one,
    ),
  };
  await it.controlPlane.push(delta);
  await until('the delta is taken', hasVersion(it, 8));
  assert.ok(!(await play(it)).files[0].urls.some(({ pathwayId }) => pathwayId === 'lyon-a'));

  const broken: readonly [string, FleetSnapshot | FleetDelta, SigningKey][] = [
    ['a stranger’s', { ...delta, baseVersion: 8, version: 9 }, strangerKey],
    ['older', { ...it.controlPlane.snapshot, version: 3 }, manifestKey],
    ['a gap', { ...delta, baseVersion: 20, version: 21 }, manifestKey],
    [
      'from the future',
      { ...delta, baseVersion: 8, version: 9, issuedAtMs: Date.now() + 3_600_000 },
      manifestKey,
    ],
    ['contradictory', { ...it.controlPlane.snapshot, version: 9, clusters: [] }, manifestKey],
  ];
  for (const [title, message, signer] of broken) {
    const connections = it.controlPlane.connections;
    await it.controlPlane.push(message, signer);
    await until(
      `${title}: the stream is opened anew`,
      () => it.controlPlane.connections > connections,
    );
    assert.equal((await statusOf(it)).snapshot?.version, 8, title);
  }
  const connections = it.controlPlane.connections;
  await it.controlPlane.push({ ...delta, baseVersion: 8, version: 9 }, manifestKey, 40);
  await until(
    'truncated: the stream is opened anew',
    () => it.controlPlane.connections > connections,
  );
  assert.equal((await statusOf(it)).snapshot?.version, 8, 'truncated');
});

test('with the control plane gone, own probes exclude a dead box at once and take it back when it answers', async (context) => {
  const port = 18_080;
  const boxes = ['127.77.41.1', '127.77.41.2'].map((address) => new Box(address, port));
  for (const box of boxes) await box.start();
  context.after(() => Promise.all(boxes.map((box) => box.stop().catch(() => undefined))));
  const baseUrl = (at: number): { baseUrl: string } => ({
    baseUrl: `http://${boxes[at].address}:${port}`,
  });
  const it = await rig(
    context,
    exampleSnapshot({ appliances: { 'lyon-a': baseUrl(0), 'lyon-b': baseUrl(1) } }),
  );
  await until('the snapshot is taken', hasVersion(it, 7));
  await it.controlPlane.stop();
  await until(
    'the control plane is known to be gone',
    async () => (await statusOf(it)).controlPlane.isGone,
  );
  const firsts = async (): Promise<Set<string>> => {
    const found = new Set<string>();
    for (let at = 0; at < 20; at++) {
      found.add((await play(it, { ...REQUEST, session: `s${at}` })).files[0].urls[0].pathwayId);
    }
    return found;
  };
  const evidence = (applianceId: string, name: string) => async () =>
    (await statusOf(it)).appliances.find((one) => one.applianceId === applianceId)?.evidence ===
    name;
  await until('both boxes answer', evidence('lyon-a', 'reachable'));
  await boxes[0].stop();
  await until('the dead box is found out', evidence('lyon-a', 'unreachable'));
  assert.deepEqual([...(await firsts())], ['lyon-b']);
  const again = new Box(boxes[0].address, port);
  await again.start();
  boxes[0] = again;
  await until('the box is back', evidence('lyon-a', 'reachable'));
  await until('it is used again', async () => (await firsts()).has('lyon-a'));
});

test('a box that lost only its link to the control plane stays in use', async (context) => {
  const port = 18_081;
  const box = new Box('127.77.42.1', port);
  await box.start();
  context.after(() => box.stop());
  const snapshot = exampleSnapshot({
    appliances: {
      'lyon-a': { baseUrl: `http://127.77.42.1:${port}`, standing: 'gone-hard' },
      'lyon-b': { baseUrl: `http://127.77.42.2:${port}`, standing: 'gone-hard' },
    },
  });
  const it = await rig(context, snapshot);
  await until('the snapshot is taken', hasVersion(it, 7));
  await until('the living one is found', async () => {
    const { urls } = (await play(it)).files[0];
    return urls[0].pathwayId === 'lyon-a';
  });
  assert.ok(!(await play(it)).files[0].urls.some(({ pathwayId }) => pathwayId === 'lyon-b'));
});

test('a start without the control plane answers from the snapshot on disk, sessions go on, a torn file is refused', async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  const { steering } = await play(it);
  await it.controlPlane.stop();
  await it.restart();
  const status = await statusOf(it);
  assert.equal(status.snapshot?.version, 7);
  assert.equal(status.snapshot.fromDisk, true);
  assert.ok(status.snapshot.receivedAgeMs >= 0);
  await play(it);
  const again = await fetch(`${it.url}${new URL(steering.hls).pathname}`);
  const body = (await again.json()) as { 'PATHWAY-PRIORITY': string[] };
  assert.equal(body['PATHWAY-PRIORITY'].length, 4);
  await it.service.stop();
  const file = path.join(it.config.stateDir, 'snapshot');
  const kept = readFileSync(file);
  writeFileSync(file, kept.subarray(0, kept.length - 10));
  it.service = make(it.config);
  const { httpPort } = await it.service.start();
  it.url = `http://${HOST}:${httpPort}`;
  assert.equal((await statusOf(it)).snapshot, null);
  assert.equal((await post(it, REQUEST)).status, 503);
});

test('status and metrics tell what is known, each figure with its age', async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  const status = await statusOf(it);
  assert.equal(status.appliances.length, 4);
  assert.ok(status.appliances.every(({ heartbeatAgeMs }) => heartbeatAgeMs > 0));
  const metrics = await (await fetch(`${it.url}/metrics`)).text();
  assert.match(metrics, /nightfill_steering_snapshot_version 7/);
  assert.match(metrics, /# TYPE nightfill_steering_play_answers_total counter/);
});

test('operators are told why, and the decisions that were logged replay bit for bit', async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  for (let at = 0; at < 30; at++) {
    await play(it, { ...REQUEST, session: `s${at}`, clientAddress: `10.${1 + (at % 4)}.7.9` });
  }
  assert.equal((await post(it, { ...REQUEST, titleId: 'nope' })).status, 404);
  const explain = (body: object, bearer: string) =>
    callJson({ method: 'POST', url: `${it.url}/v1/explain`, body, bearer, deadlineMs: 2000 });
  const ask = { fileId: EXAMPLE_FILES[0], clientAddress: '10.1.2.3' };
  const refused = await explain(ask, PLAYBACK);
  assert.ok(refused.ok && refused.value.status === 401, 'not for the playback service');
  const told = await explain(ask, OPERATOR);
  assert.ok(told.ok && told.value.status === 200);
  assert.match(JSON.stringify(told.value.body), /"home":"lyon-1".*"verdict":"chosen"/);

  await it.service.stop();
  const directory = path.join(it.config.stateDir, 'decisions');
  const [file] = readdirSync(directory);
  const result = replay(readFileSync(path.join(directory, file), 'utf8').split('\n'));
  assert.deepEqual(result, { decisions: 31, same: 31, different: [], problem: null });
});

const run = promisify(execFile);

async function isThere(command: string): Promise<boolean> {
  return run(command, [command === 'dig' ? '-v' : '-V']).then(
    () => true,
    () => false,
  );
}
const withoutDig = !(await isThere('dig')) && 'dig is not installed (bind9-dnsutils)';
const withoutKdig = !(await isThere('kdig')) && 'kdig is not installed (knot-dnsutils)';

test(
  'dig asks with a client subnet and gets the boxes of that site with the scope',
  { skip: withoutDig },
  async (context) => {
    const it = await rig(context);
    await until('the snapshot is taken', hasVersion(it, 7));
    const { stdout: text } = await run('dig', [
      `@${HOST}`,
      '-p',
      String(it.dnsPort),
      '+norec',
      '+tries=1',
      '+time=2',
      'v.cdn.test',
      'A',
      '+subnet=10.3.1.0/24',
    ]);
    assert.match(text, /status: NOERROR/);
    assert.match(text, /CLIENT-SUBNET: 10\.3\.1\.0\/24\/16/);
    assert.match(text, /v\.cdn\.test\.\s+20\s+IN\s+A\s+127\.77\.3\.1/);
    assert.doesNotMatch(text, /WARNING|malformed/i);
  },
);

test('dig gets back the case that it asked in', { skip: withoutDig }, async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  const { stdout: text } = await run('dig', [
    `@${HOST}`,
    '-p',
    String(it.dnsPort),
    '+norec',
    'LyOn-A.oCa.CdN.tEsT',
  ]);
  assert.match(text, /LyOn-A\.oCa\.CdN\.tEsT\.\s+300\s+IN\s+A\s+127\.77\.1\.1/);
});

test('kdig reads a client subnet answer', { skip: withoutKdig }, async (context) => {
  const it = await rig(context);
  await until('the snapshot is taken', hasVersion(it, 7));
  const { stdout: text } = await run('kdig', [
    `@${HOST}`,
    '-p',
    String(it.dnsPort),
    '+nocookie',
    '+retry=0',
    '+subnet=10.2.0.0/20',
    'v.cdn.test',
    'A',
  ]);
  assert.match(text, /CLIENT-SUBNET: 10\.2\.0\.0\/20\/16/);
  assert.match(text, /127\.77\.2\.1/);
});
