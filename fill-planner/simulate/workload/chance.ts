/**
 * Chance that can be asked for in any order: a number belongs to what it is drawn for, not to when. Two fleets of one seed share
 * their weather, which is what makes a comparison of variants sharp.
 */

/** MurmurHash3's finaliser over up to four keys. */
export function hashOf(seed: number, a: number, b = 0, c = 0): number {
  let hash = seed | 0;
  hash = mixed(hash ^ Math.imul(a + 1, 0x9e3779b1));
  hash = mixed(hash ^ Math.imul(b + 1, 0x85ebca6b));
  return mixed(hash ^ Math.imul(c + 1, 0xc2b2ae35)) >>> 0;
}

/** Uniform in (0, 1). */
export function uniform(seed: number, a: number, b = 0, c = 0): number {
  return (hashOf(seed, a, b, c) + 0.5) / 2 ** 32;
}

/** Standard normal: Box and Muller. */
export function normal(seed: number, a: number, b = 0, c = 0): number {
  const hash = hashOf(seed, a, b, c);
  const radius = Math.sqrt(-2 * Math.log((hash + 0.5) / 2 ** 32));
  return radius * Math.cos(2 * Math.PI * ((mixed(hash ^ 0x5bd1e995) >>> 0) / 2 ** 32));
}

/** A number for a name, to be used as a key. */
export function nameKey(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at++) {
    hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  }
  return hash >>> 0;
}

function mixed(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
