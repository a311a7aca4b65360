/**
 * Expands a plan to the manifest of one box: entries in fill order, a compressed body, and the facts that its header signs.
 *
 * Shape:      (plan, order, catalogue) -> entries; entries -> body; (body facts, version) -> header
 * Invariants: (1) the same plan, order and catalogue give the same bytes, on every machine
 *             (2) each file comes once, with every title that lists it
 *             (3) the version is not part of the content: it grows only when the content key changes
 */
import { createHash } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { expandPlan, type Order, type Plan } from '#fill-planner/contract.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';
import { signCompact, type SigningKey } from '#base/jws.ts';
import {
  JWS_TYPE,
  MANIFEST_ENTRIES_MAX,
  setDigestOf,
  type ManifestEntry,
  type ManifestHeader,
} from './contract.ts';

const COMPRESSION_LEVEL = 6; // ids do not compress; the rest is repeated keys, any level takes them
const TITLES_PER_ENTRY_MAX = 64; // the contract's bound

/** What a manifest needs to know of the catalogue. */
export interface ManifestCatalogue {
  fileIdOf(ordinal: number): FileId | undefined;
  sizeOf(fileId: FileId): number;
  /** Every title that lists the file now; none: the file left the catalogue. */
  titlesOf(fileId: FileId): readonly TitleId[];
}

export function manifestEntries(
  plan: Plan,
  order: Order,
  catalogue: ManifestCatalogue,
): readonly ManifestEntry[] {
  const entries = new Map<FileId, ManifestEntry>();
  for (const { ordinal, density } of expandPlan(plan, order, (at) => catalogue.fileIdOf(at))) {
    if (entries.size >= MANIFEST_ENTRIES_MAX) break;
    const fileId = catalogue.fileIdOf(ordinal);
    if (fileId === undefined || entries.has(fileId)) continue;
    const titles = catalogue.titlesOf(fileId).slice(0, TITLES_PER_ENTRY_MAX);
    if (titles.length === 0) continue;
    entries.set(fileId, {
      fileId,
      sizeBytes: catalogue.sizeOf(fileId),
      titles: [...titles],
      density,
    });
  }
  return [...entries.values()];
}

export interface ManifestContent {
  readonly body: Buffer; // NDJSON, zstd
  readonly entries: number;
  readonly bodySha256: string;
  readonly setDigest: string;
}

export function manifestContent(entries: readonly ManifestEntry[]): ManifestContent {
  const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
  const body = zstdCompressSync(Buffer.from(text, 'utf8'), {
    params: { [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL },
  });
  return {
    body,
    entries: entries.length,
    bodySha256: createHash('sha256').update(body).digest('base64url'),
    setDigest: setDigestOf(entries.map((entry) => entry.fileId)),
  };
}

/**
 * What makes a manifest a new one: its entries and what else a box acts on. The entries' own hash is taken
 * before compression, so that another zstd gives no new version.
 */
export function contentKeyOf(
  entries: readonly ManifestEntry[],
  plan: Pick<Plan, 'clusterId' | 'epoch' | 'fillDensity'>,
): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([plan.clusterId, plan.epoch, plan.fillDensity]));
  for (const entry of entries) hash.update(JSON.stringify(entry));
  return hash.digest('base64url');
}

/** The manifest as it travels: the signed header, a newline, the body. */
export async function encodeManifest(
  key: SigningKey,
  plan: Plan,
  version: number,
  content: ManifestContent,
  issuedAtMs: number,
): Promise<Buffer> {
  const header: ManifestHeader = {
    applianceId: plan.applianceId,
    clusterId: plan.clusterId,
    version,
    kind: 'full',
    baseVersion: 0,
    epoch: plan.epoch,
    planDate: plan.planDate,
    issuedAtMs,
    entries: content.entries,
    bodySha256: content.bodySha256,
    setDigest: content.setDigest,
    fillDensity: plan.fillDensity,
  };
  const line = await signCompact(key, JWS_TYPE.manifest, header);
  return Buffer.concat([Buffer.from(`${line}\n`, 'latin1'), content.body]);
}
