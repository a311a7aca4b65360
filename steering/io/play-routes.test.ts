import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import { callJson } from '#base/io/http-client.ts';
import { generateSigningKey, importVerifyingKey } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { seededRandom } from '#base/random.ts';
import type { KeyRing } from '#control-plane/contract.ts';
import { SteeringConfigSchema } from '../config.ts';
import { checkPlayAnswer } from '../contract.ts';
import { EXAMPLE_FILES, EXAMPLE_TITLE, exampleSnapshot } from '../example-fleet.ts';
import { createFleet } from '../fleet.ts';
import { blobSecretOf } from '../session-blob.ts';
import { createSteering } from './steering-service.ts';

const TOKEN = 'playback-secret';
const REQUEST = {
  titleId: EXAMPLE_TITLE,
  fileIds: [EXAMPLE_FILES[0]],
  clientAddress: '10.1.2.3',
  session: 's1',
};

interface Running {
  readonly url: string;
  post(at: string, body: unknown): Promise<{ readonly status: number; readonly body: unknown }>;
  status(): Promise<{ readonly probes: number; readonly counts: Readonly<Record<string, number>> }>;
}

/** A service that begins with a fleet, without a control plane. */
async function start(
  context: TestContext,
  options: { readonly playPerSecondMax?: number; readonly boxUrl?: string } = {},
): Promise<Running> {
  const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-steering-'));
  const config = withDefaults(SteeringConfigSchema, {
    listen: { address: '127.0.0.1', port: 0 },
    publicUrl: 'http://127.0.0.1:9000',
    stateDir,
    controlPlaneUrl: 'http://127.0.0.1:9',
    controlPlaneToken: 'none',
    rootFingerprint: 'a'.repeat(43),
    tokenKeyFile: 'unused',
    serviceTokens: [
      {
        name: 'playback',
        role: 'playback',
        sha256: createHash('sha256').update(TOKEN).digest('base64url'),
      },
    ],
    dns: { address: '127.0.0.1', port: 0, zone: 'cdn.test' },
    probe: { periodMs: 60_000 },
    playPerSecondMax: options.playPerSecondMax ?? 1000,
    decisionLog: { files: 0 },
  });
  assert.ok(config.ok, JSON.stringify(config));
  const { key } = await generateSigningKey('ES256');
  const verifying = await importVerifyingKey(key.publicJwk);
  assert.ok(verifying !== null);
  const none = new Map<string, never>();
  const ring: KeyRing = {
    version: 1,
    byUse: { manifest: none, plan: none, grant: none, token: new Map([[key.kid, verifying]]) },
    issuerOf: new Map([[key.kid, 'steering']]),
  };
  const baseUrl = options.boxUrl === undefined ? {} : { baseUrl: options.boxUrl };
  const service = createSteering({
    config: config.value,
    clock: systemClock,
    random: seededRandom(1),
    log: createLogger('steering', 'silent'),
    signingKey: key,
    blobSecret: blobSecretOf('AQID'),
    keys: { current: () => ring, refresh: () => Promise.resolve() },
    fleet: createFleet(exampleSnapshot({ appliances: { 'lyon-a': baseUrl, 'lyon-b': baseUrl } })),
  });
  const { httpPort } = await service.start();
  context.after(async () => {
    await service.stop();
    rmSync(stateDir, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${httpPort}`;
  return {
    url,
    async post(at, body) {
      const call = {
        method: 'POST',
        url: url + at,
        body,
        bearer: TOKEN,
        deadlineMs: 5000,
      } as const;
      const answer = await callJson(call);
      assert.ok(answer.ok, JSON.stringify(answer));
      return answer.value;
    },
    async status() {
      const answer = await callJson({ method: 'GET', url: `${url}/status`, deadlineMs: 5000 });
      assert.ok(answer.ok);
      return answer.value.body as Awaited<ReturnType<Running['status']>>;
    },
  };
}

test('a batch is answered in order, each request with its own status', async (context) => {
  const it = await start(context);
  const { status, body } = await it.post('/v1/play/batch', {
    requests: [REQUEST, { ...REQUEST, titleId: 'nope' }, { ...REQUEST, clientAddress: '10.2.0.9' }],
  });
  assert.equal(status, 200);
  const { answers } = body as { answers: { status: number; body: { home?: string } }[] };
  assert.deepEqual(
    answers.map((one) => one.status),
    [200, 404, 200],
  );
  assert.ok(checkPlayAnswer(answers[0].body).ok);
  assert.deepEqual([answers[0].body.home, answers[2].body.home], ['lyon-1', 'paris-1']);
});

test('a service token that has used up its calls is told when to come back', async (context) => {
  const it = await start(context, { playPerSecondMax: 1 });
  for (let at = 0; at < 2; at++) assert.equal((await it.post('/v1/play', REQUEST)).status, 200);
  const refused = await fetch(`${it.url}/v1/play`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(REQUEST),
  });
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assert.equal(((await refused.json()) as { error: string }).error, 'too-many-calls');
});

test('a batch counts as many calls as it has requests, and is refused whole where one of them is not valid', async (context) => {
  const it = await start(context, { playPerSecondMax: 2 }); // two seconds' worth at once
  const batch = (requests: readonly object[]) => it.post('/v1/play/batch', { requests });
  for (const bad of [[], Array.from({ length: 65 }, () => REQUEST), [REQUEST, { titleId: '!' }]]) {
    assert.equal((await batch(bad)).status, 400, `${bad.length} requests`);
  }
  assert.equal((await batch([REQUEST, REQUEST, REQUEST])).status, 200);
  assert.equal((await batch([REQUEST, REQUEST, REQUEST])).status, 429);
  const without = await fetch(`${it.url}/v1/play/batch`, { method: 'POST' });
  assert.equal(without.status, 401);
});

test('an answer holds places and reasons, never why another box was passed over', async (context) => {
  const it = await start(context);
  const { body } = await it.post('/v1/play', REQUEST);
  const answer = body as { files: { urls: object[] }[]; steering: object };
  const keys = ['epochs', 'files', 'home', 'steering', 'titleId', 'ttlSeconds'];
  assert.deepEqual(Object.keys(answer).sort(), keys);
  assert.deepEqual(Object.keys(answer.files[0]).sort(), ['fileId', 'reason', 'urls']);
  assert.deepEqual(Object.keys(answer.files[0].urls[0]).sort(), ['kind', 'pathwayId', 'url']);
  const players = await fetch(`${it.url}/v1/hls/x`);
  assert.deepEqual(Object.keys((await players.json()) as object).sort(), [
    'PATHWAY-PRIORITY',
    'RELOAD-URI',
    'TTL',
    'VERSION',
  ]);
});

test('the interface describes itself: every path of the document answers, and every path that answers is in it', async (context) => {
  const it = await start(context);
  const document = (await (await fetch(`${it.url}/v1/openapi.json`)).json()) as {
    openapi: string;
    paths: Record<string, Record<string, unknown>>;
  };
  assert.equal(document.openapi, '3.1.0');
  for (const [at, methods] of Object.entries(document.paths)) {
    for (const method of Object.keys(methods)) {
      const target = it.url + at.replace('{session}', 'x');
      const answer = await fetch(target, { method: method.toUpperCase() });
      assert.notEqual(answer.status, 404, `${method} ${at}`);
    }
  }
  const nowhere = (await (await fetch(`${it.url}/nowhere`)).json()) as { message: string };
  const told = [...nowhere.message.matchAll(/(GET|POST) (\/[\w./:]+)/g)].slice(1); // the first is what was asked
  const described = Object.entries(document.paths).flatMap(([at, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${at}`),
  );
  const own = ['GET /v1/openapi.json', 'GET /status', 'GET /metrics'];
  assert.deepEqual(
    told.map(([, method, at]) => `${method} ${at.replace(':session', '{session}')}`).sort(),
    [...described, ...own].sort(),
  );
});

test('a player’s report with a token and a session of ours has the box looked at, once; any other changes nothing', async (context) => {
  const box = http.createServer((_request, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => box.listen(0, '127.0.0.1', resolve));
  context.after(() => void box.close());
  const boxUrl = `http://127.0.0.1:${(box.address() as AddressInfo).port}`;
  const it = await start(context, { boxUrl });
  const played = checkPlayAnswer((await it.post('/v1/play', REQUEST)).body);
  assert.ok(played.ok);
  const [first] = played.value.files[0].urls;
  const session = played.value.steering.hls.split('/').at(-1) ?? '';
  const token = /;URISigningPackage=([^/]+)\//.exec(first.url)?.[1] ?? '';
  const report = { session, token, pathwayId: first.pathwayId, what: 'unreachable' };
  const before = await it.status();
  for (const wrong of [
    { ...report, token: `${token.slice(0, -4)}AAAA` },
    { ...report, session: `${session.slice(0, -4)}AAAA` },
    { ...report, pathwayId: 'oslo-a' },
  ]) {
    assert.equal((await it.post('/v1/reports', wrong)).status, 204);
  }
  assert.equal((await it.status()).counts['reports'], before.counts['reports']);
  for (let at = 0; at < 2; at++) {
    assert.equal((await it.post('/v1/reports', report)).status, 204);
  }
  const after = await it.status();
  assert.equal(after.counts['reports'], before.counts['reports'] + 1);
  assert.equal(after.counts['reportsRefused'], before.counts['reportsRefused'] + 4);
  const again = checkPlayAnswer((await it.post('/v1/play', REQUEST)).body);
  assert.ok(again.ok && again.value.files[0].urls.some((url) => url.pathwayId === first.pathwayId));
});

/** Over a connection of its own; in pieces of unknown length the framework's route answers, else the one beside it. */
function ask(
  url: string,
  body: string,
  headers: http.OutgoingHttpHeaders,
  inPieces: boolean,
): Promise<{ readonly status: number; readonly type: unknown; readonly body: unknown }> {
  return new Promise((resolve, reject) => {
    const length = inPieces ? {} : { 'content-length': Buffer.byteLength(body) };
    const all = {
      authorization: `Bearer ${TOKEN}`,
      'content-type': 'application/json',
      ...headers,
    };
    const request = http.request(`${url}/v1/play`, {
      method: 'POST',
      headers: { ...all, ...length },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'],
          body: JSON.parse(text) as unknown,
        }),
      );
    });
    request.write(body.slice(0, 5));
    request.end(body.slice(5));
  });
}

test('the route past the framework answers as the framework’s does: table', async (context) => {
  const it = await start(context);
  const cases: readonly [string, string, http.OutgoingHttpHeaders, number][] = [
    ['a good request', JSON.stringify(REQUEST), {}, 200],
    [
      'a type with a character set',
      JSON.stringify(REQUEST),
      { 'content-type': 'application/json; charset=utf-8' },
      200,
    ],
    ['an unknown title', JSON.stringify({ ...REQUEST, titleId: 'nope' }), {}, 404],
    ['a field too many', JSON.stringify({ ...REQUEST, extra: 1 }), {}, 400],
    ['no JSON', '{"titleId":', {}, 400],
    ['another token', JSON.stringify(REQUEST), { authorization: 'Bearer x' }, 401],
    ['no token', JSON.stringify(REQUEST), { authorization: '' }, 401],
    ['another type', JSON.stringify(REQUEST), { 'content-type': 'text/csv' }, 415],
    ['too large', JSON.stringify({ ...REQUEST, session: 'x'.repeat(70_000) }), {}, 413],
  ];
  for (const [title, body, headers, status] of cases) {
    const [quick, general] = await Promise.all([
      ask(it.url, body, headers, false),
      ask(it.url, body, headers, true),
    ]);
    assert.equal(quick.status, status, title);
    assert.equal(general.status, status, title);
    assert.equal(quick.type, general.type, title);
    if (status === 200) {
      assert.ok(checkPlayAnswer(quick.body).ok && checkPlayAnswer(general.body).ok, title);
    } else {
      assert.deepEqual(quick.body, general.body, title);
    }
  }
});
