/**
 * Expands a plan to the manifest of one box: entries in fill order, a compressed body, and the facts that its header signs.
 *
 * Shape:      (plan, order, catalogue) -> planned files; files -> lines -> body; two sets of files -> the lines of a delta
 * Invariants: (1) the same plan, order and catalogue give the same bytes, on every machine
 *             (2) each file comes once, with every title that lists it
 *             (3) the version is not part of the content: it grows only when the content key changes
 *             (4) no entry lives longer than its line: 400,000 files cost two arrays of numbers and their compressed body,
 *                 which is never copied: it stays in the parts in which it was made
 */
import { createHash } from 'node:crypto';
import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib';
import { visitPlan, type OrderColumns, type Plan } from '#fill-planner/contract.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';
import { signCompact, type SigningKey } from '#base/jws.ts';
import {
  JWS_TYPE,
  MANIFEST_DROP_CHARACTERS,
  MANIFEST_ENTRIES_MAX,
  MANIFEST_FORECAST_FACTOR,
  SetDigest,
  setDigestOf,
  type ManifestDrop,
  type ManifestEntry,
  type ManifestHeader,
} from './contract.ts';

const COMPRESSION_LEVEL = 6; // ids do not compress; the rest is repeated keys, any level takes them
const COMPRESSION = { params: { [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL } };
const TITLES_PER_ENTRY_MAX = 64; // the contract's bound
const FORECAST_DIGITS = 4; // a forecast is not known better, and digits do not compress
const PIECE_LINES = 2000; // compressed, and between two turns of the event loop

/** What a manifest needs to know of the catalogue. */
export interface ManifestCatalogue {
  fileIdOf(ordinal: number): FileId | undefined;
  sizeOf(fileId: FileId): number;
  /** Every title that lists the file now; none: the file left the catalogue. */
  titlesOf(fileId: FileId): readonly TitleId[];
}

/** The files of a manifest in fill order, as numbers. */
export interface PlannedFiles {
  readonly ordinals: Uint32Array;
  readonly densities: Float64Array;
}

export function plannedFiles(
  plan: Plan,
  order: OrderColumns,
  catalogue: ManifestCatalogue,
): PlannedFiles {
  const room = Math.min(order.ordinals.length + plan.pins.length, MANIFEST_ENTRIES_MAX);
  const ordinals = new Uint32Array(room);
  const densities = new Float64Array(room);
  const seen = new OrdinalBits(order.ordinals, plan.pins);
  let count = 0;
  const fileIdOf = (ordinal: number): FileId | undefined => catalogue.fileIdOf(ordinal);
  visitPlan(plan, order, fileIdOf, (ordinal, density) => {
    if (count >= room || seen.has(ordinal)) return;
    const fileId = catalogue.fileIdOf(ordinal);
    if (fileId === undefined || catalogue.titlesOf(fileId).length === 0) return;
    ordinals[count] = ordinal;
    densities[count++] = density;
    seen.add(ordinal);
  });
  return { ordinals: ordinals.subarray(0, count), densities: densities.subarray(0, count) };
}

/** A set of the ordinals that a plan can name, a bit each: 9 MB for a catalogue of 72 million files. */
class OrdinalBits {
  readonly #bits: Uint8Array;

  constructor(...lists: readonly ArrayLike<number>[]) {
    let largest = 0;
    for (const list of lists) {
      for (let at = 0; at < list.length; at++) largest = Math.max(largest, list[at]);
    }
    this.#bits = new Uint8Array((largest >>> 3) + 1);
  }

  has(ordinal: number): boolean {
    return (this.#bits[ordinal >>> 3] & (1 << (ordinal & 7))) !== 0;
  }

  add(ordinal: number): void {
    this.#bits[ordinal >>> 3] |= 1 << (ordinal & 7);
  }
}

function entryAt(files: PlannedFiles, at: number, catalogue: ManifestCatalogue): ManifestEntry {
  const fileId = catalogue.fileIdOf(files.ordinals[at]) ?? '';
  return {
    fileId,
    sizeBytes: catalogue.sizeOf(fileId),
    titles: catalogue.titlesOf(fileId).slice(0, TITLES_PER_ENTRY_MAX),
    density: Number(files.densities[at].toPrecision(FORECAST_DIGITS)),
  };
}

export function* manifestLines(
  files: PlannedFiles,
  catalogue: ManifestCatalogue,
): Generator<ManifestEntry> {
  for (let at = 0; at < files.ordinals.length; at++) yield entryAt(files, at, catalogue);
}

export function manifestEntries(
  plan: Plan,
  order: OrderColumns,
  catalogue: ManifestCatalogue,
): readonly ManifestEntry[] {
  return [...manifestLines(plannedFiles(plan, order, catalogue), catalogue)];
}

/** What leads from one set of files to another: what comes or is wanted otherwise, then what goes. */
export function* deltaLines(
  base: PlannedFiles,
  next: PlannedFiles,
  catalogue: ManifestCatalogue,
): Generator<ManifestEntry | ManifestDrop> {
  const before = new Map<number, number>();
  for (let at = 0; at < base.ordinals.length; at++) {
    before.set(base.ordinals[at], base.densities[at]);
  }
  for (let at = 0; at < next.ordinals.length; at++) {
    const density = before.get(next.ordinals[at]);
    before.delete(next.ordinals[at]);
    if (density !== undefined && isAlike(density, next.densities[at])) continue;
    yield entryAt(next, at, catalogue);
  }
  for (const ordinal of before.keys()) {
    const fileId = catalogue.fileIdOf(ordinal);
    if (fileId !== undefined) yield { drop: dropNameOf(fileId) };
  }
}

function dropNameOf(fileId: FileId): string {
  return fileId.slice(0, MANIFEST_DROP_CHARACTERS);
}

/** Whether a delta can name what leaves this set: no two of its files begin alike. */
export function canNameDrops(base: PlannedFiles, catalogue: ManifestCatalogue): boolean {
  const keys = new Float64Array(base.ordinals.length);
  for (let at = 0; at < keys.length; at++) {
    const id = Buffer.from(dropNameOf(catalogue.fileIdOf(base.ordinals[at]) ?? ''), 'base64url');
    keys[at] = id.length < 7 ? -1 : id.readUIntBE(0, 6); // 48 of its 60 bits: exact in a double
  }
  keys.sort();
  for (let at = 1; at < keys.length; at++) if (keys[at] === keys[at - 1]) return false;
  return true;
}

function isAlike(before: number, now: number): boolean {
  if (before === now) return true;
  if (before === 0 || now === 0) return false;
  const factor = now > before ? now / before : before / now;
  return factor < MANIFEST_FORECAST_FACTOR;
}

export function digestOfFiles(files: PlannedFiles, catalogue: ManifestCatalogue): string {
  const digest = new SetDigest();
  for (const ordinal of files.ordinals) {
    const fileId = catalogue.fileIdOf(ordinal);
    if (fileId !== undefined) digest.add(fileId);
  }
  return digest.toString();
}

/** Names the files with their titles: two sets of one key differ in forecasts alone. */
export function setKeyOf(files: PlannedFiles, catalogue: ManifestCatalogue): string {
  const hash = createHash('sha256');
  for (const ordinal of files.ordinals) {
    const fileId = catalogue.fileIdOf(ordinal) ?? '';
    hash.update(`${fileId} ${catalogue.titlesOf(fileId).join(' ')}\n`);
  }
  return hash.digest('base64url');
}

export interface ManifestContent {
  readonly body: readonly Buffer[]; // NDJSON, zstd, in the parts in which it was made
  readonly entries: number; // lines
  readonly bodySha256: string;
  readonly setDigest: string;
}

export interface CompressedLines extends Omit<ManifestContent, 'setDigest'> {
  readonly textSha256: string; // before compression: another zstd gives no new version
}

/** Compresses line by line, in turns with whatever else this process does. */
export async function compressLines(
  lines: Iterable<ManifestEntry | ManifestDrop>,
): Promise<CompressedLines> {
  const stream = createZstdCompress(COMPRESSION);
  const body: Buffer[] = [];
  const bodyHash = createHash('sha256');
  const ended = new Promise<void>((resolve, reject) => {
    stream.on('data', (part: Buffer) => {
      body.push(part);
      bodyHash.update(part);
    });
    stream.once('end', resolve);
    stream.once('error', reject);
  });
  const text = createHash('sha256');
  let entries = 0;
  let piece = '';
  const write = async (): Promise<void> => {
    text.update(piece);
    const isRoom = stream.write(piece);
    piece = '';
    if (!isRoom) await new Promise((resolve) => stream.once('drain', resolve));
    else await new Promise((resolve) => setImmediate(resolve));
  };
  for (const line of lines) {
    piece += `${JSON.stringify(line)}\n`;
    if (++entries % PIECE_LINES === 0) await write();
  }
  text.update(piece);
  stream.end(piece);
  await ended;
  const [bodySha256, textSha256] = [bodyHash.digest('base64url'), text.digest('base64url')];
  return { body, entries, bodySha256, textSha256 };
}

/** The same at once, for a manifest that is small. */
export function manifestContent(entries: readonly ManifestEntry[]): ManifestContent {
  const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
  const body = zstdCompressSync(Buffer.from(text, 'utf8'), COMPRESSION);
  return {
    body: [body],
    entries: entries.length,
    bodySha256: createHash('sha256').update(body).digest('base64url'),
    setDigest: setDigestOf(entries.map((entry) => entry.fileId)),
  };
}

/** What makes a manifest a new one: its entries (`textSha256` of their lines) and what else a box acts on. */
export function contentKeyOf(
  textSha256: string,
  plan: Pick<Plan, 'clusterId' | 'epoch' | 'fillDensity'>,
): string {
  return createHash('sha256')
    .update(JSON.stringify([plan.clusterId, plan.epoch, plan.fillDensity, textSha256]))
    .digest('base64url');
}

/** What a manifest changes, where it is a delta. */
export interface ManifestBase {
  readonly version: number;
  readonly digest: string;
}

/** The manifest as it travels, in parts: the signed header with a newline, the body. */
export async function manifestParts(
  key: SigningKey,
  plan: Plan,
  version: number,
  content: ManifestContent,
  issuedAtMs: number,
  base: ManifestBase | null = null,
): Promise<readonly Buffer[]> {
  const header: ManifestHeader = {
    applianceId: plan.applianceId,
    clusterId: plan.clusterId,
    version,
    kind: base === null ? 'full' : 'delta',
    baseVersion: base?.version ?? 0,
    epoch: plan.epoch,
    planDate: plan.planDate,
    issuedAtMs,
    entries: content.entries,
    bodySha256: content.bodySha256,
    setDigest: content.setDigest,
    fillDensity: plan.fillDensity,
    ...(base === null ? {} : { baseDigest: base.digest }),
  };
  const line = await signCompact(key, JWS_TYPE.manifest, header);
  return [Buffer.from(`${line}\n`, 'latin1'), ...content.body];
}

/** The same in one piece, for one that is small. */
export async function encodeManifest(
  ...manifest: Parameters<typeof manifestParts>
): Promise<Buffer> {
  return Buffer.concat(await manifestParts(...manifest));
}
