import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix } from '#base/address.ts';
import { configsOf, endpointsOf, layoutOf, SERVICE_TOKENS, urlOf } from './layout.ts';

const OPTIONS = {
  stateDir: '/state',
  addressBlock: '127.0',
  portBase: 7700,
  sharedAddress: false,
  storageBytes: 1000,
  reactiveShare: 0.2,
};

test('each appliance has an address of its own and all share one port', () => {
  const { appliances, origin } = layoutOf(OPTIONS);
  assert.deepEqual(
    appliances.map((box) => box.baseUrl),
    ['http://127.0.1.1:7780', 'http://127.0.1.2:7780', 'http://127.0.2.1:7780'],
  );
  assert.equal(urlOf(origin.listen), 'http://127.0.0.2:7780');
});

test('where only 127.0.0.1 exists every listener still has an endpoint of its own', () => {
  for (const sharedAddress of [true, false]) {
    const endpoints = endpointsOf(layoutOf({ ...OPTIONS, sharedAddress }));
    const texts = endpoints.map(
      ({ endpoint, kind }) => `${kind} ${endpoint.address}:${endpoint.port}`,
    );
    assert.equal(new Set(texts).size, endpoints.length, texts.join(' '));
  }
});

test('the two sites split the address block, and synthetic viewers live in both halves', () => {
  const layout = layoutOf(OPTIONS);
  const homes = layout.viewerAddresses.map((address) =>
    Number(address.split('.')[2]) < 128 ? 0 : 1,
  );
  assert.deepEqual(new Set(homes), new Set([0, 1]));
  for (const site of layout.sites) {
    for (const prefix of site.clusters[0].prefixes)
      assert.notEqual(parsePrefix(prefix), null, prefix);
  }
});

test('callees are told hashes of the service tokens, never the tokens', () => {
  const tokens = Object.fromEntries(SERVICE_TOKENS.map(({ name }) => [name, `secret-${name}`]));
  const tokenHashes = Object.fromEntries(SERVICE_TOKENS.map(({ name }) => [name, `hash-${name}`]));
  const configs = configsOf(layoutOf(OPTIONS), OPTIONS, {
    tokens,
    tokenHashes,
    rootFingerprint: 'f',
    planCommand: [],
  });
  assert.doesNotMatch(JSON.stringify(configs['control-plane']), /secret-/);
  assert.doesNotMatch(JSON.stringify(configs['origin']), /secret-/);
  assert.match(JSON.stringify(configs['steering']), /hash-playback/);
});
