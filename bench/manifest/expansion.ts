/**
 * Makes one box's manifest, full and as a delta, and reads both back; says what that took. A process of its own: argv[2] files.
 */
import { randomFillSync } from 'node:crypto';
import { generateSigningKey } from '#base/jws.ts';
import { assert } from '#base/outcome.ts';
import type { ManifestEntry } from '#control-plane/contract.ts';
import {
  canNameDrops,
  compressLines,
  deltaLines,
  digestOfFiles,
  manifestLines,
  manifestParts,
  plannedFiles,
  readManifest,
  type BaseFile,
  type ManifestCatalogue,
} from '#control-plane/control-plane.ts';
import type { KeyRing } from '#control-plane/contract.ts';
import { importVerifyingKey, type VerifyingKey } from '#base/jws.ts';
import type { OrderColumns, Plan } from '#fill-planner/contract.ts';

const CHURN_SHARE = 0.027;
const FILES_PER_TITLE = 20; // of a box's share of a title's 1,200
const RSS_PERIOD_MS = 5;

export interface ManifestMeasure {
  readonly fullSeconds: number;
  readonly deltaSeconds: number;
  readonly fullPeakBytes: number;
  readonly deltaPeakBytes: number;
  readonly fullWireBytes: number;
  readonly deltaWireBytes: number;
  readonly deltaShare: number;
  readonly readFullSeconds: number;
  readonly readDeltaSeconds: number;
}

const files = Number(process.argv[2]);
const churn = Math.round(files * CHURN_SHARE);
const all = files + churn;
const catalogue = catalogueOf(all);
const plan = planOf();
const { key } = await generateSigningKey('EdDSA');

/** Tonight: every forecast a little different, the last ones gone, new ones in their place. */
const yesterday = orderOf(0, files, 1);
const tonight = orderOf(churn, files, 1.3);

const full = await measured(async () => {
  const planned = plannedFiles(plan, yesterday, catalogue);
  const lines = await compressLines(manifestLines(planned, catalogue));
  const content = { ...lines, setDigest: digestOfFiles(planned, catalogue) };
  return manifestParts(key, plan, 1, content, Date.now());
});
const delta = await measured(async () => {
  const before = plannedFiles(plan, yesterday, catalogue);
  const after = plannedFiles(plan, tonight, catalogue);
  assert(canNameDrops(before, catalogue), 'a delta can name what goes');
  const lines = await compressLines(deltaLines(before, after, catalogue));
  const content = { ...lines, setDigest: digestOfFiles(after, catalogue) };
  const base = { version: 1, digest: digestOfFiles(before, catalogue) };
  return manifestParts(key, plan, 2, content, Date.now(), base);
});

const ring = await ringOf();
const readFull = await timed(() =>
  readManifest(full.bytes, ring, { applianceId: 'box', versionInUse: 0 }),
);
assert(readFull.value.ok, 'the full manifest opens');
const base = new Map(readFull.value.value.entries.map((entry) => [entry.fileId, baseOf(entry)]));
const readDelta = await timed(() =>
  readManifest(delta.bytes, ring, { applianceId: 'box', versionInUse: 1, base: { files: base } }),
);
assert(readDelta.value.ok, 'the delta opens');
assert(readDelta.value.value.entries.length === files, 'as many files as before');

const measure: ManifestMeasure = {
  fullSeconds: full.seconds,
  deltaSeconds: delta.seconds,
  fullPeakBytes: full.peakBytes,
  deltaPeakBytes: delta.peakBytes,
  fullWireBytes: full.bytes.length,
  deltaWireBytes: delta.bytes.length,
  deltaShare: CHURN_SHARE,
  readFullSeconds: readFull.seconds,
  readDeltaSeconds: readDelta.seconds,
};
process.stdout.write(JSON.stringify(measure));

function catalogueOf(count: number): ManifestCatalogue {
  const bytes = randomFillSync(Buffer.alloc(32 * count));
  const ids = Array.from({ length: count }, (_, at) =>
    bytes.subarray(32 * at, 32 * at + 32).toString('base64url'),
  );
  const titles = Array.from({ length: Math.ceil(count / FILES_PER_TITLE) }, (_, at) => [
    `title-${at}`,
  ]);
  const ordinalOf = new Map(ids.map((id, at) => [id, at]));
  return {
    fileIdOf: (ordinal) => ids[ordinal],
    sizeOf: (fileId) => 300_000_000 + (ordinalOf.get(fileId) ?? 0) * 1009,
    titlesOf: (fileId) => titles[Math.floor((ordinalOf.get(fileId) ?? 0) / FILES_PER_TITLE)],
  };
}

/** Ordinals `from` .. `from + count`, by falling density. */
function orderOf(from: number, count: number, factor: number): OrderColumns {
  return {
    ordinals: Uint32Array.from({ length: count }, (_, at) => from + at),
    densities: Float64Array.from({ length: count }, (_, at) => (factor * 50_000) / (at + 10)),
  };
}

function planOf(): Plan {
  return {
    applianceId: 'box',
    clusterId: 'cluster',
    planDate: '2026-11-20',
    epoch: 1,
    orderVersion: 'A'.repeat(43),
    everywhereDensity: 0,
    shareDensity: 0,
    fillDensity: 1,
    members: [{ applianceId: 'box', weight: 1 }],
    pins: [],
    drops: [],
  };
}

async function measured(
  make: () => Promise<readonly Buffer[]>,
): Promise<{ bytes: Buffer; seconds: number; peakBytes: number }> {
  globalThis.gc?.();
  const before = process.memoryUsage.rss();
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, RSS_PERIOD_MS);
  const made = await timed(make);
  clearInterval(timer);
  peak = Math.max(peak, process.memoryUsage.rss());
  return { bytes: Buffer.concat(made.value), seconds: made.seconds, peakBytes: peak - before };
}

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; seconds: number }> {
  const startMs = performance.now();
  const value = await work();
  return { value, seconds: (performance.now() - startMs) / 1000 };
}

async function ringOf(): Promise<KeyRing> {
  const verifying = await importVerifyingKey(key.publicJwk);
  assert(verifying !== null, 'a fresh Ed25519 key verifies');
  const none: ReadonlyMap<string, VerifyingKey> = new Map();
  return {
    version: 1,
    byUse: {
      manifest: new Map([[verifying.kid, verifying]]),
      plan: none,
      token: none,
      grant: none,
    },
    issuerOf: new Map(),
  };
}

function baseOf({ sizeBytes, titles, density, urgent }: ManifestEntry): BaseFile {
  return { sizeBytes, titles, density, isUrgent: urgent === true };
}
