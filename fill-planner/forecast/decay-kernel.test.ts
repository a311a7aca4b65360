import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import {
  decayAt,
  DEFAULT_KERNEL,
  fitDecayKernel,
  KERNEL_BOUNDS,
  type DecayKernel,
  type ReleaseHistory,
} from './decay-kernel.ts';

function historiesOf(kernel: DecayKernel, noise: number): readonly ReleaseHistory[] {
  const random = seededRandom(9);
  return Array.from({ length: 25 }, () => {
    const scale = 100 * Math.exp(2 * random.next());
    const ages = Array.from({ length: 50 }, (_, age) => age);
    return {
      ages,
      exposures: ages.map(() => 1),
      views: ages.map(
        (age) => scale * decayAt(kernel, age) * Math.exp(noise * (random.next() - 0.5)),
      ),
    };
  });
}

test('the kernel that made the views is found again, as a curve', () => {
  const kernels: readonly DecayKernel[] = [
    { w: 0.7, t1: 2, t2: 15, p: 1.2 },
    { w: 0.3, t1: 6, t2: 5, p: 0.8 },
  ];
  for (const kernel of kernels) {
    for (const noise of [0, 0.4]) {
      const found = fitDecayKernel(historiesOf(kernel, noise));
      for (const age of [1, 3, 7, 14, 28, 45]) {
        const off = Math.abs(Math.log(decayAt(found, age) / decayAt(kernel, age)));
        assert.ok(off < 0.06, `age ${age}: off by ${off}`);
      }
    }
  }
});

test('the scale of a release and the level of a day do not bend the curve', () => {
  const kernel = { w: 0.6, t1: 3, t2: 10, p: 1.5 };
  const weekly = historiesOf(kernel, 0).map(({ ages, views }) => ({
    ages,
    exposures: ages.map((age) => (age % 7 < 2 ? 2 : 1)),
    views: views.map((value, age) => value * (age % 7 < 2 ? 2 : 1)),
  }));
  const found = fitDecayKernel(weekly);
  for (const age of [2, 8, 20]) {
    assert.ok(Math.abs(Math.log(decayAt(found, age) / decayAt(kernel, age))) < 0.02);
  }
});

test('too little data gives the default, and useless data stays within bounds', () => {
  assert.deepEqual(fitDecayKernel([]), DEFAULT_KERNEL);
  const dead = fitDecayKernel(
    Array.from({ length: 10 }, () => ({
      ages: [0, 1, 2, 3],
      views: [0, 0, 0, 5],
      exposures: [1, 1, 1, 1],
    })),
  );
  for (const name of ['t1', 't2', 'p'] as const) {
    assert.ok(dead[name] >= KERNEL_BOUNDS[name][0] && dead[name] <= KERNEL_BOUNDS[name][1]);
  }
});

test('the curve starts at 1 and falls', () => {
  assert.equal(decayAt(DEFAULT_KERNEL, 0), 1);
  for (let age = 0; age < 100; age++) {
    assert.ok(decayAt(DEFAULT_KERNEL, age + 1) < decayAt(DEFAULT_KERNEL, age));
  }
});
