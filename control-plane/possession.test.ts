import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKey, type SigningKey } from '#base/jws.ts';
import {
  POSSESSION_LIFE_SECONDS,
  signPossession,
  type FillGrant,
  type PossessionRefusal,
} from './contract.ts';
import { PossessionDesk } from './possession.ts';

const NOW = 1_800_000_000;

function grantOf(key: SigningKey, sub = 'box-1'): FillGrant {
  const times = { iat: NOW, nbf: NOW, exp: NOW + 3600 };
  return { iss: 'control-plane', sub, aud: 'fill', cnf: { jkt: key.kid }, ...times };
}

const own = (await generateSigningKey('ES256')).key;
const thief = (await generateSigningKey('ES256')).key;
const fresh = await signPossession(own, 'box-1', 'box-2', NOW);

const CASES: readonly (readonly [
  what: string,
  proof: string | undefined,
  grant: FillGrant,
  verdict: PossessionRefusal | null,
])[] = [
  ['the owner’s, made for this source', fresh, grantOf(own), null],
  ['none', undefined, grantOf(own), 'possession-missing'],
  ['an empty one', '', grantOf(own), 'possession-missing'],
  ['no JWS', 'no proof', grantOf(own), 'possession-invalid'],
  ['one of 3 kB', `${fresh}${'x'.repeat(3000)}`, grantOf(own), 'possession-invalid'],
  ['one whose signature was cut', fresh.slice(0, -4), grantOf(own), 'possession-invalid'],
  [
    'by another key, in the owner’s name',
    await signPossession(thief, 'box-1', 'box-2', NOW),
    grantOf(own),
    'possession-invalid',
  ],
  ['the owner’s, beside another box’s grant', fresh, grantOf(own, 'box-3'), 'possession-invalid'],
  [
    'another box’s, beside a stolen grant',
    await signPossession(thief, 'box-9', 'box-2', NOW),
    grantOf(own),
    'possession-invalid',
  ],
  [
    'made for another source, replayed here',
    await signPossession(own, 'box-1', 'origin', NOW),
    grantOf(own),
    'possession-audience',
  ],
  [
    'of 61 s ago',
    await signPossession(own, 'box-1', 'box-2', NOW - POSSESSION_LIFE_SECONDS - 1),
    grantOf(own),
    'possession-stale',
  ],
  [
    'of the future',
    await signPossession(own, 'box-1', 'box-2', NOW + 60),
    grantOf(own),
    'possession-stale',
  ],
];

for (const [what, proof, grant, verdict] of CASES) {
  test(`a proof: ${what}: ${verdict ?? 'accepted'}, and the same the second time`, async () => {
    const desk = new PossessionDesk('box-2', 16);
    assert.equal(await desk.check(proof, grant, NOW), verdict);
    assert.equal(desk.peek(proof, grant, NOW), verdict, 'without another signature check');
  });
}

test('a remembered proof grows old: its age is looked at with each request', async () => {
  const desk = new PossessionDesk('box-2', 16);
  assert.equal(desk.peek(fresh, grantOf(own), NOW), undefined, 'its signature is to be checked');
  assert.equal(await desk.check(fresh, grantOf(own), NOW), null);
  assert.equal(desk.peek(fresh, grantOf(own), NOW + POSSESSION_LIFE_SECONDS), null);
  const late = NOW + POSSESSION_LIFE_SECONDS + 1;
  assert.equal(desk.peek(fresh, grantOf(own), late), 'possession-stale');
});

test('a proof that somebody else showed first is still its owner’s', async () => {
  const desk = new PossessionDesk('box-2', 16);
  assert.equal(await desk.check(fresh, grantOf(thief, 'box-9'), NOW), 'possession-invalid');
  assert.equal(await desk.check(fresh, grantOf(own), NOW), null);
});

test('what is remembered is bounded, and what was forgotten is checked again', async () => {
  const desk = new PossessionDesk('box-2', 2);
  for (let age = 0; age < 5; age++) {
    const proof = await signPossession(own, 'box-1', 'box-2', NOW - age);
    assert.equal(await desk.check(proof, grantOf(own), NOW), null);
  }
  assert.equal(desk.peek(fresh, grantOf(own), NOW), undefined);
  assert.equal(await desk.check(fresh, grantOf(own), NOW), null);
});
