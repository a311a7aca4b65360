/**
 * Chance as an argument. A seed gives the same sequence on every machine.
 *
 * Source: sfc32 (Chris Doty-Humphrey, PractRand), seeded by SplitMix32.
 */
export interface Random {
  /** Uniform in [0, 1), 32 bits of it. */
  next(): number;
  /** A uniform integer in [0, below). */
  below(below: number): number;
}

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const splitMix = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return (z ^ (z >>> 15)) | 0;
  };
  let a = splitMix();
  let b = splitMix();
  let c = splitMix();
  let counter = 1;
  const next32 = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) next32();
  return {
    next: () => next32() / 4294967296,
    below: (below) => Math.floor((next32() / 4294967296) * below),
  };
}

export const systemRandom: Random = {
  next: () => Math.random(),
  below: (below) => Math.floor(Math.random() * below),
};
