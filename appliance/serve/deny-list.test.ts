import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DenyRegister, NOTHING_DENIED, type DenialSet } from './deny-list.ts';

const FILE = 'f'.repeat(43);

function denials(version: number, parts: Partial<DenialSet> = {}): DenialSet {
  return { version, titles: [], files: [], keyIds: [], issuers: [], appliances: [], ...parts };
}

test('a denied title says so for each of its files, and leaves a file served under its other titles', () => {
  const register = new DenyRegister();
  assert.equal(register.offer(denials(1, { titles: ['film'] })), 'taken');
  assert.equal(register.current.content('film', FILE), 'title-denied');
  assert.equal(register.current.content('film', null), 'title-denied', 'its listing too');
  assert.equal(register.current.content('trailer', FILE), null);
});

test('a denied file is served under no title', () => {
  const register = new DenyRegister();
  register.offer(denials(1, { files: [FILE] }));
  assert.equal(register.current.content('film', FILE), 'file-denied');
  assert.equal(register.current.content('trailer', FILE), 'file-denied');
  assert.equal(register.current.content('film', 'g'.repeat(43)), null);
});

test('keys, issuers and boxes are denied by name', () => {
  const register = new DenyRegister();
  register.offer(denials(1, { keyIds: ['k1'], issuers: ['stolen'], appliances: ['box-9'] }));
  const { current } = register;
  assert.equal(current.token('k1', 'steering'), 'token-key-denied');
  assert.equal(current.token('k2', 'stolen'), 'token-issuer-denied');
  assert.equal(current.token('k2', 'steering'), null);
  assert.equal(current.box('box-9'), 'grant-revoked');
  assert.equal(current.box('box-1'), null);
});

test('versions only grow: an older or equal set is stale, a newer one replaces the whole', () => {
  const register = new DenyRegister();
  assert.equal(register.current, NOTHING_DENIED);
  assert.equal(register.offer(denials(0)), 'stale');
  assert.equal(register.offer(denials(5, { titles: ['a'] })), 'taken');
  assert.equal(register.offer(denials(5, { titles: ['b'] })), 'stale');
  assert.equal(register.offer(denials(4, { titles: ['b'] })), 'stale');
  assert.equal(register.current.content('b', null), null);
  assert.equal(register.offer(denials(6, { files: [FILE] })), 'taken');
  assert.equal(register.current.content('a', null), null, 'lifted by the newer set');
  assert.deepEqual(register.current.figures(), {
    titles: 0,
    files: 1,
    keyIds: 0,
    issuers: 0,
    appliances: 0,
  });
});
