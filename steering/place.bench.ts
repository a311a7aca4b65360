/**
 * How fast and how large a prefix table is: `node steering/place.bench.ts FILE`, one JSON line.
 *
 * FILE: lines "prefix TAB anything", gzip or plain. The table is grown to 1,000,000 IPv4 and 200,000 IPv6 prefixes by
 * seeded de-aggregation. Figures are per second of CPU, not of the wall: the machine may be busy.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { seededRandom } from '#base/random.ts';
import { buildPrefixTable, lookUp, lookUpV4, type PrefixEntry, type Trie } from './place.ts';
import { prefixScratch, readPrefix } from './prefix-text.ts';

const CLUSTERS = 6000;
const V4_WANTED = 1_000_000;
const V6_WANTED = 200_000;
const LOOKUPS = 2_000_000;
const ROUNDS = 5;

const random = seededRandom(1);
const scratch = prefixScratch();

/** Prefixes in flat arrays, so that the bench measures the table and not the collector. */
const capacity = V4_WANTED + V6_WANTED;
const bytes = new Uint8Array(capacity * 16);
const lengths = new Uint8Array(capacity);
const families = new Uint8Array(capacity);
const clusters = new Int32Array(capacity);
const seen = new Set<string>();
let count = 0;
const have = { 4: 0, 6: 0 };

function push(): void {
  const size = scratch.family === 4 ? 4 : 16;
  const key = `${scratch.length}:${Buffer.from(scratch.bytes.subarray(0, size)).toString('latin1')}`;
  if (seen.has(key) || count === capacity) return;
  if (have[scratch.family] >= (scratch.family === 4 ? V4_WANTED : V6_WANTED)) return;
  seen.add(key);
  bytes.set(scratch.bytes.subarray(0, size), count * 16);
  lengths[count] = scratch.length;
  families[count] = scratch.family;
  clusters[count] = random.below(CLUSTERS);
  have[scratch.family]++;
  count++;
}

function grow(family: 4 | 6, wanted: number, lengthMax: number): void {
  const from: number[] = [];
  for (let at = 0; at < count; at++) if (families[at] === family) from.push(at);
  while (have[family] < wanted) {
    const base = from[random.below(from.length)];
    const extra = 1 + random.below(4);
    if (lengths[base] + extra > lengthMax) continue;
    scratch.family = family;
    scratch.length = lengths[base] + extra;
    scratch.bytes.set(bytes.subarray(base * 16, base * 16 + 16));
    for (let bit = lengths[base]; bit < scratch.length; bit++) {
      if (random.below(2) === 1) scratch.bytes[bit >> 3] |= 0x80 >> (bit & 7);
    }
    push();
  }
}

function* entries(): Iterable<PrefixEntry> {
  const entry = { prefix: scratch, cluster: 0 };
  for (let at = 0; at < count; at++) {
    scratch.family = families[at] === 4 ? 4 : 6;
    scratch.length = lengths[at];
    scratch.bytes.set(bytes.subarray(at * 16, at * 16 + 16));
    entry.cluster = clusters[at];
    yield entry;
  }
}

function cpuMs(run: () => void): number {
  const before = process.cpuUsage();
  run();
  const spent = process.cpuUsage(before);
  return (spent.user + spent.system) / 1000;
}

function bestMillionsPerSecond(lookups: number, run: () => void): number {
  let best = 0;
  for (let round = 0; round < ROUNDS; round++) best = Math.max(best, lookups / cpuMs(run) / 1000);
  return Number(best.toFixed(2));
}

function sizeOf(trie: Trie): number {
  const { child, value, shallowest, entry, blocks } = trie;
  return [child, value, shallowest, entry, blocks].reduce((sum, one) => sum + one.byteLength, 0);
}

const file = process.argv[2];
if (file === undefined) throw new Error('usage: node steering/place.bench.ts FILE');
const raw = readFileSync(file);
const text = (raw[0] === 0x1f ? gunzipSync(raw) : raw).toString();
for (const line of text.split('\n')) if (readPrefix(line.split('\t')[0], scratch)) push();
const read = count;
grow(4, V4_WANTED, 24);
grow(6, V6_WANTED, 48);
seen.clear();

let table = buildPrefixTable([]);
const buildMs = Math.min(
  ...[1, 2, 3].map(() =>
    cpuMs(() => {
      table = buildPrefixTable(entries());
    }),
  ),
);
const announced = new Uint32Array(LOOKUPS);
const uniform = new Uint32Array(LOOKUPS);
for (let at = 0; at < LOOKUPS;) {
  const one = random.below(count);
  if (families[one] !== 4) continue;
  const [a, b, c] = bytes.subarray(one * 16);
  announced[at] = ((a << 24) | (b << 16) | (c << 8) | random.below(256)) >>> 0;
  uniform[at++] = random.below(2 ** 32);
}
const v6: Uint8Array[] = [];
for (let at = 0; at < count && v6.length < 4096; at++) {
  if (families[at] !== 6) continue;
  const address = bytes.slice(at * 16, at * 16 + 16);
  address[15] = 1;
  v6.push(address);
}
let sum = 0; // printed, so that no look-up can be optimised away
const each = (keys: Uint32Array) => (): void => {
  for (const key of keys) sum += lookUpV4(table, key);
};
const figures = {
  prefixesRead: read,
  prefixes: count,
  buildCpuMs: Math.round(buildMs),
  megabytes: Number(
    ((sizeOf(table.v4) + sizeOf(table.v6) + table.covers.outer.byteLength * 2) / 1e6).toFixed(1),
  ),
  v4AnnouncedMillionsPerCpuSecond: bestMillionsPerSecond(LOOKUPS, each(announced)),
  v4UniformMillionsPerCpuSecond: bestMillionsPerSecond(LOOKUPS, each(uniform)),
  v6HotMillionsPerCpuSecond: bestMillionsPerSecond(v6.length * 250, () => {
    for (let round = 0; round < 250; round++) for (const one of v6) sum += lookUp(table, one);
  }),
  checksum: sum % 1_000_003,
};
console.log(JSON.stringify(figures));
