/**
 * Opens a fill manifest: nothing in it is acted on before all of it has been checked.
 *
 * Shape:      (bytes as served, keys, who is asking) -> { header, entries } | refusal with a detail
 * Errors:     a refusal word per reason; `detail` says what did not fit. Nothing throws on any input
 * Invariants: (1) the header is signed by a manifest key before the body is looked at
 *             (2) the compressed body has the header's SHA-256 before it is decompressed
 *             (3) decompression stops at MANIFEST_EXPANDED_BYTES_MAX, and at the room that the header's
 *                 own number of entries allows: a small body cannot claim gigabytes of memory
 *             (4) every line is an entry, no file comes twice, a drop means one file of the base, the digest of the full set is the
 *                 header's
 *             (5) a version at or below the one in use is refused: manifests only move forward
 */
import { createHash } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { openCompact } from '#base/jws.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';
import { messageOf, type Outcome } from '#base/outcome.ts';
import {
  checkManifestDrop,
  checkManifestEntry,
  checkManifestHeader,
  JWS_TYPE,
  MANIFEST_BODY_BYTES_MAX,
  MANIFEST_DROP_CHARACTERS,
  MANIFEST_EXPANDED_BYTES_MAX,
  SetDigest,
  type ApplianceId,
  type KeyRing,
  type ManifestDrop,
  type ManifestEntry,
  type ManifestHeader,
} from './contract.ts';

const HEADER_BYTES_MAX = 16 * 1024; // a signed header is under 1 KiB
const LINE_BYTES_MAX = 8 * 1024; // one entry: 64 titles of 64 characters are 4.3 KiB
const LINES_PER_PIECE = 2000; // between two turns of the event loop: some 10 ms
const NEWLINE = 0x0a;

export type ManifestRefusal =
  | 'manifest-malformed' // no header line, or the header is not what the contract says
  | 'manifest-signature' // signed by a stranger, or altered
  | 'manifest-not-ours' // of another appliance or cluster
  | 'manifest-epoch' // of another catalogue epoch than expected
  | 'manifest-stale' // not newer than the one in use
  | 'manifest-delta' // a delta whose base is not the set in use
  | 'manifest-body' // too large, altered, or no zstd
  | 'manifest-entries' // a line is no entry, a file comes twice, or the count differs
  | 'manifest-digest'; // the entries are not the set that was signed

export interface ManifestProblem {
  readonly refusal: ManifestRefusal;
  readonly detail: string;
}

export interface ManifestExpectations {
  readonly applianceId: ApplianceId;
  /** Version in use; 0 where there is none yet. */
  readonly versionInUse: number;
  /** Absent: any cluster, any epoch. */
  readonly clusterId?: string;
  readonly epoch?: number;
  /** The set in use, where a delta on it will do. */
  readonly base?: { readonly files: ReadonlyMap<FileId, BaseFile> };
}

/** A file of the set in use, as a delta leaves it where it does not name it. */
export interface BaseFile {
  readonly sizeBytes: number;
  readonly titles: readonly TitleId[];
  readonly density: number;
  readonly isUrgent: boolean;
}

export interface OpenedManifest {
  readonly header: ManifestHeader;
  readonly entries: readonly ManifestEntry[];
}

export async function readManifest(
  bytes: Uint8Array,
  keys: KeyRing,
  expected: ManifestExpectations,
): Promise<Outcome<OpenedManifest, ManifestProblem>> {
  const split = splitAtFirstLine(bytes);
  if (split === null) return refuse('manifest-malformed', 'it has no header line');
  const opened = await openCompact(split.headerText, keys.byUse.manifest, JWS_TYPE.manifest);
  if (!opened.ok) {
    return refuse('manifest-signature', `the header does not verify: ${opened.failure}`);
  }
  const checked = checkManifestHeader(opened.value.payload);
  if (!checked.ok) return refuse('manifest-malformed', checked.failure.slice(0, 3).join('; '));
  const header = checked.value;
  const refusal = headerProblem(header, expected);
  if (refusal !== null) return { ok: false, failure: refusal };
  const expanded = expandBody(split.body, header);
  if (!expanded.ok) return expanded;
  const lines = await readLines(expanded.value, header);
  if (!lines.ok) return lines;
  const resulting =
    header.kind === 'full'
      ? { ok: true as const, value: lines.value.entries }
      : merged(expected.base?.files ?? new Map<FileId, BaseFile>(), lines.value);
  if (!resulting.ok) return resulting;
  const entries = resulting.value;
  const digest = await digestOf(entries);
  if (digest !== header.setDigest) {
    return refuse('manifest-digest', `the set has digest ${digest}, signed is ${header.setDigest}`);
  }
  return { ok: true, value: { header, entries } };
}

function splitAtFirstLine(
  bytes: Uint8Array,
): { readonly headerText: string; readonly body: Uint8Array } | null {
  const end = bytes.subarray(0, HEADER_BYTES_MAX).indexOf(NEWLINE);
  if (end <= 0) return null;
  return {
    headerText: Buffer.from(bytes.buffer, bytes.byteOffset, end).toString('latin1'),
    body: bytes.subarray(end + 1),
  };
}

function headerProblem(
  header: ManifestHeader,
  expected: ManifestExpectations,
): ManifestProblem | null {
  const problem = (refusal: ManifestRefusal, detail: string): ManifestProblem => ({
    refusal,
    detail,
  });
  if (header.applianceId !== expected.applianceId) {
    return problem(
      'manifest-not-ours',
      `it is for appliance ${header.applianceId}, this is ${expected.applianceId}`,
    );
  }
  if (expected.clusterId !== undefined && header.clusterId !== expected.clusterId) {
    return problem(
      'manifest-not-ours',
      `it is for cluster ${header.clusterId}, this box is in ${expected.clusterId}`,
    );
  }
  if (expected.epoch !== undefined && header.epoch !== expected.epoch) {
    return problem('manifest-epoch', `epoch ${header.epoch}, expected ${expected.epoch}`);
  }
  if (header.version <= expected.versionInUse) {
    return problem(
      'manifest-stale',
      `version ${header.version} is not newer than ${expected.versionInUse}, in use`,
    );
  }
  if (header.kind === 'delta' && expected.base === undefined) {
    return problem('manifest-delta', 'a delta was sent where the full manifest was asked for');
  }
  if (header.kind === 'delta' && header.baseVersion !== expected.versionInUse) {
    return problem(
      'manifest-delta',
      `it changes version ${header.baseVersion}, in use is ${expected.versionInUse}`,
    );
  }
  return null;
}

function expandBody(body: Uint8Array, header: ManifestHeader): Outcome<Buffer, ManifestProblem> {
  if (body.length > MANIFEST_BODY_BYTES_MAX) {
    return refuse('manifest-body', `${body.length} bytes, at most ${MANIFEST_BODY_BYTES_MAX}`);
  }
  if (createHash('sha256').update(body).digest('base64url') !== header.bodySha256) {
    return refuse('manifest-body', 'its SHA-256 is not the one that the header signs');
  }
  if (body.length === 0 && header.entries === 0) return { ok: true, value: Buffer.alloc(0) };
  const roomBytes = Math.min(MANIFEST_EXPANDED_BYTES_MAX, (header.entries + 1) * LINE_BYTES_MAX);
  try {
    return { ok: true, value: zstdDecompressSync(body, { maxOutputLength: roomBytes }) };
  } catch (thrown) {
    return refuse(
      'manifest-body',
      `it does not decompress to ${roomBytes} bytes at most: ${messageOf(thrown)}`,
    );
  }
}

interface ReadLines {
  readonly entries: readonly ManifestEntry[];
  readonly drops: ReadonlySet<string>; // the first characters of ids
}

/** In pieces: 400,000 lines take seconds, in which a box serves. */
async function readLines(
  text: Buffer,
  header: ManifestHeader,
): Promise<Outcome<ReadLines, ManifestProblem>> {
  const entries: ManifestEntry[] = [];
  const drops = new Set<string>();
  const seen = new Set<string>(); // ids and drops: of different lengths, so never the same
  let start = 0;
  while (start < text.length) {
    const newlineAt = text.indexOf(NEWLINE, start);
    const end = newlineAt === -1 ? text.length : newlineAt;
    const where = `line ${seen.size + 1}`;
    if (seen.size === header.entries) {
      return refuse('manifest-entries', `${where}: the header says ${header.entries} entries`);
    }
    if (end - start > LINE_BYTES_MAX) return refuse('manifest-entries', `${where} is too long`);
    const line = parseLine(text.toString('utf8', start, end), header.kind);
    if (!line.ok) return refuse('manifest-entries', `${where}: ${line.failure}`);
    const name = 'drop' in line.value ? line.value.drop : line.value.fileId;
    if (seen.has(name)) return refuse('manifest-entries', `${where}: ${name} comes twice`);
    seen.add(name);
    if ('drop' in line.value) drops.add(name);
    else entries.push(line.value);
    start = end + 1;
    if (seen.size % LINES_PER_PIECE === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  if (seen.size !== header.entries) {
    return refuse('manifest-entries', `${seen.size} entries, the header says ${header.entries}`);
  }
  return { ok: true, value: { entries, drops } };
}

/** The set in use with what a delta brings, takes and wants otherwise. */
function merged(
  base: ReadonlyMap<FileId, BaseFile>,
  { entries, drops }: ReadLines,
): Outcome<readonly ManifestEntry[], ManifestProblem> {
  const changed = new Set(entries.map(({ fileId }) => fileId));
  const result = [...entries];
  const dropped = new Set<string>();
  for (const [fileId, { sizeBytes, titles, density, isUrgent }] of base) {
    const name = fileId.slice(0, MANIFEST_DROP_CHARACTERS);
    if (drops.has(name)) {
      if (dropped.has(name)) {
        return refuse('manifest-delta', `drop ${name} means two files of the set in use`);
      }
      dropped.add(name);
      continue;
    }
    if (changed.has(fileId)) continue;
    const kept = { fileId, sizeBytes, titles: [...titles], density };
    result.push(isUrgent ? { ...kept, urgent: true } : kept);
  }
  for (const name of drops) {
    if (!dropped.has(name)) {
      return refuse('manifest-delta', `drop ${name} means no file of the set in use`);
    }
  }
  return { ok: true, value: result };
}

async function digestOf(entries: readonly ManifestEntry[]): Promise<string> {
  const sum = new SetDigest();
  for (const [at, { fileId }] of entries.entries()) {
    sum.add(fileId);
    if (at % LINES_PER_PIECE === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return sum.toString();
}

function parseLine(
  line: string,
  kind: ManifestHeader['kind'],
): Outcome<ManifestEntry | ManifestDrop, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (thrown) {
    return { ok: false, failure: messageOf(thrown) };
  }
  if (kind === 'delta' && typeof parsed === 'object' && parsed !== null && 'drop' in parsed) {
    const drop = checkManifestDrop(parsed);
    return drop.ok ? drop : { ok: false, failure: drop.failure.slice(0, 3).join('; ') };
  }
  const checked = checkManifestEntry(parsed);
  return checked.ok ? checked : { ok: false, failure: checked.failure.slice(0, 3).join('; ') };
}

function refuse(
  refusal: ManifestRefusal,
  detail: string,
): { readonly ok: false; readonly failure: ManifestProblem } {
  return { ok: false, failure: { refusal, detail } };
}
