import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { fitReleasePrior, type ReleaseExample } from './release-prior.ts';

const PLAIN = {
  class: 'release',
  kind: 'film',
  language: 'en',
  genre: 'drama',
  priority: 0,
  previousScale: null,
};

function examples(): readonly ReleaseExample[] {
  const random = seededRandom(3);
  return Array.from({ length: 60 }, (_, i) => {
    const priority = i % 10;
    const genre = i % 2 === 0 ? 'drama' : 'crime';
    const scale =
      0.01 * Math.exp(0.3 * priority + (genre === 'crime' ? 0.5 : 0) + 0.2 * (random.next() - 0.5));
    return { ...PLAIN, priority, genre, scale };
  });
}

test('promotion and genre move the prior as they moved past releases', () => {
  const prior = fitReleasePrior(examples(), 0.01);
  const low = prior({ ...PLAIN, priority: 1 }).mean;
  const high = prior({ ...PLAIN, priority: 8 }).mean;
  assert.ok(Math.abs(Math.log(high / low) - 2.1) < 0.4, `${high / low}`);
  assert.ok(prior({ ...PLAIN, genre: 'crime' }).mean > 1.2 * prior(PLAIN).mean);
});

test('a season is expected to do about as the one before did', () => {
  const seasons = examples().map((example, i) => ({
    ...example,
    kind: 'episode',
    previousScale: example.scale * (i % 3 === 0 ? 1.3 : 0.8),
  }));
  const prior = fitReleasePrior(seasons, 0.01);
  const features = { ...PLAIN, kind: 'episode', priority: 5 };
  const small = prior({ ...features, previousScale: 0.01 }).mean;
  const large = prior({ ...features, previousScale: 0.2 }).mean;
  assert.ok(large > 1.5 * small, `${large / small}`);
});

test('without past releases the fallback stands, with a wide spread', () => {
  const prior = fitReleasePrior([], 0.02)(PLAIN);
  assert.ok(prior.mean > 0.02 && prior.mean < 0.06);
  assert.ok(prior.shape < 0.5);
});

test('words that no past release had are no reason for a wild forecast', () => {
  const prior = fitReleasePrior(examples(), 0.01);
  const odd = prior({ ...PLAIN, language: 'xx', genre: 'opera', class: 'children' }).mean;
  assert.ok(odd > 0.002 && odd < 0.2, String(odd));
});
