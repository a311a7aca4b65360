import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKey, importSigningKey } from '#base/jws.ts';
import { openFillGrant, readEnrolmentToken, type EnrolmentClaims } from '../contract.ts';
import { signEnrolmentToken } from '../trust.ts';
import { exampleSite } from './test-examples.ts';
import { Rig, RigBox } from './test-rig.ts';

test('a box enrols, gets an access token, and with it a grant that a peer accepts', async (t) => {
  const rig = await Rig.start(t);
  assert.equal((await rig.putSite()).status, 201);
  const token = await rig.enrolmentToken('box-1');
  const claims = readEnrolmentToken(token);
  assert.ok(claims.ok);
  assert.equal(claims.value.rootFingerprint, rig.keySet.rootFingerprint);
  const box = await RigBox.make(rig, 'box-1');
  const answer = await box.enrol(token);
  assert.equal(answer.status, 200);
  assert.equal(answer.body['siteId'], 'paris');
  await box.authenticate();
  const grant = String((await box.get('/v1/grant')).body['grant']);
  const opened = await openFillGrant(grant, rig.ring, Math.floor(Date.now() / 1000));
  assert.ok(opened.ok);
  assert.equal(opened.value.sub, 'box-1');
  assert.equal(opened.value.cnf.jkt, box.key.kid);
});

test('the same box with the same key enrols again; with another key it is refused and alarmed', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const token = await rig.enrolmentToken('box-1');
  const box = await RigBox.make(rig, 'box-1');
  assert.equal((await box.enrol(token)).status, 200);
  assert.equal((await box.enrol(token)).status, 200, 'an answer that was lost is asked for again');
  const thief = await RigBox.make(rig, 'box-1');
  const sameToken = await thief.enrol(token, { baseUrl: 'http://thief.test' });
  assert.equal(sameToken.status, 409);
  assert.equal(sameToken.body['error'], 'enrolled-already');
  const freshToken = await thief.enrol(await rig.enrolmentToken('box-1'));
  assert.equal(freshToken.status, 409);
  const alarms = rig.controlPlane.plane.alarms.newest();
  assert.match(alarms[0].what, /tried to enrol as box-1 with another key/);
  assert.equal(rig.controlPlane.plane.fleet.box('box-1')?.record.thumbprint, box.key.kid);
});

test('a removed box can be enrolled anew, but not with its old token', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const token = await rig.enrolmentToken('box-1');
  const box = await RigBox.make(rig, 'box-1');
  await box.enrol(token);
  await box.authenticate();
  assert.equal((await rig.call('DELETE', '/v1/appliances/box-1', 'operator')).status, 204);
  assert.equal((await box.get('/v1/grant')).status, 401, 'its access token is worth nothing now');
  const replaced = await RigBox.make(rig, 'box-1');
  assert.equal((await replaced.enrol(token)).status, 409);
  assert.equal((await replaced.enrol(await rig.enrolmentToken('box-1'))).status, 200);
});

test('an enrolment token that is expired, forged or for no site is refused with its reason', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await RigBox.make(rig, 'box-1');
  const claims: EnrolmentClaims = {
    jti: 'test-token-1',
    sub: 'box-1',
    site: 'paris',
    cluster: 'paris',
    controlPlaneUrl: 'http://127.0.0.1:7000',
    rootFingerprint: rig.keySet.rootFingerprint,
    exp: Math.floor(Date.now() / 1000) + 3600,
  };
  const ours = await importSigningKey(rig.keySet.privateOf.grant);
  const stranger = (await generateSigningKey('ES256')).key;
  const cases = [
    ['expired', ours, { ...claims, exp: 1000 }, 403, 'enrolment-token-expired'],
    ['signed by a stranger', stranger, claims, 403, 'enrolment-token-invalid'],
    ['for no site', ours, { ...claims, site: 'nowhere', cluster: 'nowhere' }, 409, 'site-unknown'],
  ] as const;
  for (const [what, key, payload, status, error] of cases) {
    const answer = await box.enrol(await signEnrolmentToken(key, payload));
    assert.equal(answer.status, status, what);
    assert.equal(answer.body['error'], error, what);
  }
  const eddsa = (await generateSigningKey('EdDSA')).key;
  const token = await rig.enrolmentToken('box-1');
  assert.equal((await box.enrol(token, { publicJwk: eddsa.publicJwk })).body['error'], 'key-kind');
  assert.equal((await box.enrol(token, { publicJwk: { kty: 'oct', k: 'AAAA' } })).status, 400);
  assert.equal((await box.enrol(token, { unknownField: 1 })).body['error'], 'request-not-valid');
});

test('an assertion is good once, for a minute, by the enrolled key only', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  const now = Math.floor(Date.now() / 1000);
  const once = await box.assertion();
  assert.equal((await box.tokenFor(once)).status, 200);
  const replayed = await box.tokenFor(once);
  assert.equal(replayed.status, 401);
  assert.match(String(replayed.body['message']), /assertion-replayed/);
  const stranger = (await generateSigningKey('ES256')).key;
  const cases: readonly [what: string, assertion: string, why: RegExp][] = [
    ['by a stranger', await box.assertion({}, stranger), /assertion-signature/],
    ['old', await box.assertion({ iat: now - 120, exp: now - 90 }), /assertion-expired/],
    ['from the future', await box.assertion({ iat: now + 30, exp: now + 60 }), /not-yet/],
    ['too long', await box.assertion({ exp: now + 600 }), /assertion-life/],
    ['for another audience', await box.assertion({ aud: 'fill' }), /appliance-unknown/],
    ['of nobody', await box.assertion({ iss: 'box-9', sub: 'box-9' }), /appliance-unknown/],
    ['no JWS', 'abc', /appliance-unknown/],
  ];
  for (const [what, assertion, why] of cases) {
    const answer = await box.tokenFor(assertion);
    assert.equal(answer.status, 401, what);
    assert.match(String(answer.body['message']), why, what);
  }
});

test('sites are upserts; a prefix or cluster of another site is refused', async (t) => {
  const rig = await Rig.start(t);
  assert.equal((await rig.putSite()).status, 201);
  assert.equal((await rig.putSite()).status, 200);
  assert.equal((await rig.putSite({ name: 'Paris 2' })).status, 200);
  const lyon = exampleSite('lyon');
  const samePrefix = await rig.call('POST', '/v1/sites', 'operator', lyon);
  assert.equal(samePrefix.status, 409);
  assert.match(String(samePrefix.body['message']), /192\.0\.2\.0\/24 belongs to site paris/);
  const sameCluster = { ...lyon, clusters: [{ clusterId: 'paris', prefixes: [] }] };
  assert.equal((await rig.call('POST', '/v1/sites', 'operator', sameCluster)).status, 409);
  const noPrefix = { ...lyon, clusters: [{ clusterId: 'lyon', prefixes: ['192.0.2.7/24'] }] };
  assert.equal((await rig.call('POST', '/v1/sites', 'operator', noPrefix)).status, 400);
  const window = { ...lyon.fillWindow, timeZone: 'Mars/Olympus' };
  const noZone = await rig.call('POST', '/v1/sites', 'operator', { ...lyon, fillWindow: window });
  assert.equal(noZone.body['error'], 'time-zone-unknown');
  await rig.box('box-1');
  const moved = await rig.putSite({ clusters: [{ clusterId: 'other', prefixes: [] }] });
  assert.equal(moved.body['error'], 'cluster-in-use');
});

test('every route asks for the role it needs', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  const cases = [
    ['POST', '/v1/sites', 'publish'],
    ['POST', '/v1/enrolment-tokens', 'planner'],
    ['POST', '/v1/titles', 'operator'],
    ['GET', '/v1/planner/input', 'steering'],
    ['POST', '/v1/plans', 'operator'],
    ['POST', '/v1/plan-now', 'planner'],
    ['GET', '/v1/fleet/stream', 'operator'],
    ['GET', '/v1/audit', 'steering'],
  ] as const;
  for (const [method, route, wrong] of cases) {
    assert.equal((await rig.call(method, route, wrong, {})).status, 403, `${route} as ${wrong}`);
    assert.equal((await rig.call(method, route, null, {})).status, 401, `${route} as nobody`);
    const guess = { bearer: 'guess' };
    assert.equal((await rig.call(method, route, guess, {})).status, 401, `${route} by a guess`);
    const asBox = { bearer: box.bearer };
    assert.equal((await rig.call(method, route, asBox, {})).status, 401, `${route} as a box`);
  }
  for (const route of ['/v1/manifest', '/v1/grant']) {
    assert.equal((await rig.call('GET', route, 'operator')).status, 401);
    assert.equal((await rig.call('GET', route, null)).status, 401);
  }
});
