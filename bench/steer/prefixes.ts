/**
 * The prefix table: build time, memory, look-ups a second, and whether it says what a scan over all prefixes says.
 */
import { seededRandom } from '#base/random.ts';
import {
  buildPrefixTable,
  coverOf,
  lookUp,
  lookUpV4,
  type PrefixTable,
} from '#steering/steering.ts';
import type { PrefixList } from './topology.ts';

const LOOKUPS = 2_000_000;
const LOOKUPS_SMOKE = 20_000;
const ROUNDS = 5;
const CHECKED = 400;

export function measurePrefixes(
  list: PrefixList,
  seed: number,
  isSmoke: boolean,
): { readonly table: PrefixTable; readonly figures: unknown } {
  let table = buildPrefixTable([]);
  const builds = [0, 1, 2].map(() =>
    cpuMs(() => {
      table = buildPrefixTable(list.entries());
    }),
  );
  const random = seededRandom(seed);
  const lookups = isSmoke ? LOOKUPS_SMOKE : LOOKUPS;
  const announced = new Uint32Array(lookups);
  const uniform = new Uint32Array(lookups);
  for (let at = 0; at < lookups;) {
    const one = random.below(list.count);
    if (list.families[one] !== 4) continue;
    const [a, b, c] = list.bytes.subarray(one * 16, one * 16 + 4);
    announced[at] = ((a << 24) | (b << 16) | (c << 8) | random.below(256)) >>> 0;
    uniform[at++] = random.below(2 ** 32);
  }
  const v6: Uint8Array[] = [];
  for (let at = 0; at < list.count && v6.length < 4096; at++) {
    if (list.families[at] !== 6) continue;
    const address = list.bytes.slice(at * 16, at * 16 + 16);
    address[15] = 1;
    v6.push(address);
  }
  let sum = 0; // returned, so that no look-up can be optimised away
  const each = (keys: Uint32Array) => (): void => {
    for (const key of keys) sum += lookUpV4(table, key);
  };
  const rounds = Math.ceil(lookups / 8 / v6.length);
  const figures = {
    ...list.distinct,
    entries: list.count,
    buildCpuMs: Math.round(Math.min(...builds)),
    megabytes: Math.round(sizeOf(table) / 1e5) / 10,
    v4AnnouncedMillionsPerCpuSecond: best(lookups, each(announced)),
    v4UniformMillionsPerCpuSecond: best(lookups, each(uniform)),
    v6HotMillionsPerCpuSecond: best(v6.length * rounds, () => {
      for (let at = 0; at < rounds; at++) for (const one of v6) sum += lookUp(table, one);
    }),
    checkedAgainstScan: CHECKED,
    wrong: countWrong(list, table, seed),
    checksum: sum % 1_000_003,
  };
  return { table, figures };
}

/** Addresses in announced prefixes, each looked for in every single prefix. */
function countWrong(list: PrefixList, table: PrefixTable, seed: number): number {
  const random = seededRandom(seed + 1);
  let wrong = 0;
  for (let at = 0; at < CHECKED; at++) {
    const one = random.below(list.count);
    const size = list.families[one] === 4 ? 4 : 16;
    const address = list.bytes.slice(one * 16, one * 16 + size);
    for (let byte = list.lengths[one] >> 3; byte < size; byte++) {
      const kept = Math.max(0, list.lengths[one] - byte * 8);
      address[byte] |= random.below(256) & (0xff >> kept);
    }
    const expected = scan(list, address);
    const found = coverOf(table, lookUp(table, address)).flat();
    if (found.join() !== expected.join()) wrong++;
  }
  return wrong;
}

/** All clusters that cover an address, by falling length; each once. */
function scan(list: PrefixList, address: Uint8Array): readonly number[] {
  const family = address.length === 4 ? 4 : 6;
  const byLength = new Map<number, Set<number>>();
  for (let at = 0; at < list.count; at++) {
    if (list.families[at] !== family) continue;
    const length = list.lengths[at];
    if (!covers(list.bytes, at * 16, length, address)) continue;
    const clusters = byLength.get(length) ?? new Set();
    clusters.add(list.clusters[at]);
    byLength.set(length, clusters);
  }
  const seen = new Set<number>();
  for (const length of [...byLength.keys()].sort((a, b) => b - a)) {
    for (const cluster of [...(byLength.get(length) ?? [])].sort((a, b) => a - b)) {
      seen.add(cluster);
    }
  }
  return [...seen];
}

function covers(bytes: Uint8Array, from: number, length: number, address: Uint8Array): boolean {
  const whole = length >> 3;
  for (let at = 0; at < whole; at++) if (bytes[from + at] !== address[at]) return false;
  const left = length & 7;
  return left === 0 || ((bytes[from + whole] ^ address[whole]) & (0xff << (8 - left)) & 0xff) === 0;
}

function sizeOf({ v4, v6, covers: { outer, clusters } }: PrefixTable): number {
  let bytes = outer.byteLength + clusters.byteLength;
  for (const { child, value, shallowest, entry, blocks } of [v4, v6]) {
    for (const part of [child, value, shallowest, entry, blocks]) bytes += part.byteLength;
  }
  return bytes;
}

export function cpuMs(run: () => void): number {
  const before = process.cpuUsage();
  run();
  const spent = process.cpuUsage(before);
  return (spent.user + spent.system) / 1000;
}

function best(lookups: number, run: () => void): number {
  const rates = Array.from({ length: ROUNDS }, () => lookups / cpuMs(run) / 1000);
  return Math.round(Math.max(...rates) * 100) / 100;
}
