/**
 * What upstream tells everybody else: files, chunks, titles, and where bytes live.
 *
 * A file is one encode of a title. It is cut into chunks of 1 MiB; its id is a hash over its size and its
 * chunks' hashes, so that it can be fetched from ANY source and checked chunk by chunk.
 */
import { createHash } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import type { Outcome } from '#base/outcome.ts';

export const CHUNK_BYTES = 1024 * 1024;
export const HASH_BYTES = 32;
export const FILE_BYTES_MAX = 1024 ** 4; // 1 TiB: a bound on a chunk list (32 MiB), far above any encode
export const FILES_PER_TITLE_MAX = 4096; // about 1,200 at full scale
export const LISTING_BYTES_MAX = 4 * 1024 * 1024; // one listing as JSON

const CHUNK_LIST_MAGIC = Buffer.from('nightfill-file-1\n', 'latin1');
const CHUNK_LIST_HEADER_BYTES = CHUNK_LIST_MAGIC.length + 8 + 4;

export const FILE_ID_PATTERN = '^[A-Za-z0-9_-]{43}$';
export const TITLE_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$';
export const FILE_ID = new RegExp(FILE_ID_PATTERN);
export const TITLE_ID = new RegExp(TITLE_ID_PATTERN);

export type FileId = string; // 43 characters of base64url
export type TitleId = string;

// ---------------------------------------------------------------- chunks

/**
 * The chunk list of a file, as it travels in `<fileId>.chunks`:
 * "nightfill-file-1\n" || u64be size || u32be chunkBytes || h0 || ... || hn-1. Its SHA-256 is the fileId.
 */
export interface ChunkList {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  readonly chunkCount: number;
  readonly hashes: Buffer; // chunkCount x 32 bytes
}

export type ChunkListRefusal =
  | 'malformed'
  | 'size-zero'
  | 'size-too-large'
  | 'wrong-length'
  | 'wrong-id';

/** The canonical bytes of a chunk list. Throws RangeError on a size of zero or hashes that do not fit the size. */
export function encodeChunkList(
  sizeBytes: number,
  hashes: Buffer,
  chunkBytes = CHUNK_BYTES,
): Buffer {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > FILE_BYTES_MAX) {
    throw new RangeError(`a file has 1 to ${FILE_BYTES_MAX} bytes, not ${sizeBytes}`);
  }
  if (hashes.length !== chunkCountOf(sizeBytes, chunkBytes) * HASH_BYTES) {
    throw new RangeError('the hashes do not fit the size');
  }
  const header = Buffer.alloc(CHUNK_LIST_HEADER_BYTES);
  CHUNK_LIST_MAGIC.copy(header, 0);
  header.writeBigUInt64BE(BigInt(sizeBytes), CHUNK_LIST_MAGIC.length);
  header.writeUInt32BE(chunkBytes, CHUNK_LIST_MAGIC.length + 8);
  return Buffer.concat([header, hashes]);
}

export function fileIdOf(encodedChunkList: Buffer): FileId {
  return createHash('sha256').update(encodedChunkList).digest('base64url');
}

/** Checks a chunk list that came from anywhere: its form, and that it is the list of `expected`. */
export function decodeChunkList(
  encoded: Buffer,
  expected: FileId,
): Outcome<ChunkList, ChunkListRefusal> {
  if (
    encoded.length < CHUNK_LIST_HEADER_BYTES ||
    !encoded.subarray(0, CHUNK_LIST_MAGIC.length).equals(CHUNK_LIST_MAGIC)
  ) {
    return { ok: false, failure: 'malformed' };
  }
  const size = encoded.readBigUInt64BE(CHUNK_LIST_MAGIC.length);
  const chunkBytes = encoded.readUInt32BE(CHUNK_LIST_MAGIC.length + 8);
  if (size === 0n) return { ok: false, failure: 'size-zero' };
  if (size > BigInt(FILE_BYTES_MAX)) return { ok: false, failure: 'size-too-large' };
  if (chunkBytes !== CHUNK_BYTES) return { ok: false, failure: 'malformed' };
  const sizeBytes = Number(size);
  const hashes = encoded.subarray(CHUNK_LIST_HEADER_BYTES);
  const chunkCount = chunkCountOf(sizeBytes, chunkBytes);
  if (hashes.length !== chunkCount * HASH_BYTES) return { ok: false, failure: 'wrong-length' };
  if (fileIdOf(encoded) !== expected) return { ok: false, failure: 'wrong-id' };
  return { ok: true, value: { fileId: expected, sizeBytes, chunkBytes, chunkCount, hashes } };
}

export function chunkCountOf(sizeBytes: number, chunkBytes = CHUNK_BYTES): number {
  return Math.ceil(sizeBytes / chunkBytes);
}

export function chunkListBytesOf(sizeBytes: number): number {
  return CHUNK_LIST_HEADER_BYTES + chunkCountOf(sizeBytes) * HASH_BYTES;
}

/** Length of chunk `index`: every chunk is full but the last. */
export function chunkLengthOf(
  list: Pick<ChunkList, 'sizeBytes' | 'chunkBytes'>,
  index: number,
): number {
  return Math.min(list.chunkBytes, list.sizeBytes - index * list.chunkBytes);
}

/** True when `bytes` are exactly chunk `index` of the file. */
export function chunkMatches(list: ChunkList, index: number, bytes: Uint8Array): boolean {
  if (bytes.length !== chunkLengthOf(list, index)) return false;
  const expected = list.hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
  return createHash('sha256').update(bytes).digest().equals(expected);
}

// ---------------------------------------------------------------- where bytes live

const TOKEN_SEGMENT = ';URISigningPackage=';

export interface ContentLocation {
  readonly token: string | null; // RFC 9246 path-style token, still to be verified
  readonly path: string; // the path without the token segment
  readonly titleId: TitleId;
  readonly resource: 'file' | 'chunks' | 'listing';
  readonly fileId: FileId | null; // null for a listing
}

/** `/t/<titleId>/<fileId>`: the same path on every appliance, peer and origin. */
export function contentPath(titleId: TitleId, fileId: FileId): string {
  return `/t/${titleId}/${fileId}`;
}

export function chunkListPath(titleId: TitleId, fileId: FileId): string {
  return `/t/${titleId}/${fileId}.chunks`;
}

export function listingPath(titleId: TitleId): string {
  return `/t/${titleId}/listing`;
}

/** `http://box:8080/;URISigningPackage=<JWT>/t/<titleId>/<fileId>` (RFC 9246, path style, first segment). */
export function signedContentUrl(
  baseUrl: string,
  token: string,
  titleId: TitleId,
  fileId: FileId,
): string {
  return `${baseUrl}/${TOKEN_SEGMENT}${token}${contentPath(titleId, fileId)}`;
}

/**
 * Takes a request path apart. The query is ignored (CMCD lives there), except for a form-style token.
 * Null where the path is not one of ours: the answer is 404.
 */
export function parseContentPath(target: string): ContentLocation | null {
  const queryAt = target.indexOf('?');
  let path = queryAt === -1 ? target : target.slice(0, queryAt);
  let token: string | null = null;
  if (path.startsWith(`/${TOKEN_SEGMENT}`)) {
    const end = path.indexOf('/', 1);
    if (end === -1) return null;
    token = path.slice(1 + TOKEN_SEGMENT.length, end);
    path = path.slice(end);
  } else if (queryAt !== -1) {
    token = new URLSearchParams(target.slice(queryAt + 1)).get('URISigningPackage');
  }
  const parts = path.split('/');
  if (parts.length !== 4 || parts[0] !== '' || parts[1] !== 't' || !TITLE_ID.test(parts[2]))
    return null;
  const titleId = parts[2];
  const last = parts[3];
  if (last === 'listing') return { token, path, titleId, resource: 'listing', fileId: null };
  const isChunks = last.endsWith('.chunks');
  const fileId = isChunks ? last.slice(0, -'.chunks'.length) : last;
  if (!FILE_ID.test(fileId)) return null;
  return { token, path, titleId, resource: isChunks ? 'chunks' : 'file', fileId };
}

/** The strong ETag of a file: the same on every box, so that a range may be continued on another one. */
export function etagOf(fileId: FileId): string {
  return `"${fileId}"`;
}

/** Header by which a box says why it fetches under its grant: the origin counts the two apart. */
export const PURPOSE_HEADER = 'nightfill-purpose';
export type FetchPurpose = 'fill' | 'miss';

// ---------------------------------------------------------------- titles

export const FileEntrySchema = Type.Object(
  {
    fileId: Type.String({ pattern: FILE_ID_PATTERN }),
    sizeBytes: Type.Integer({ minimum: 1, maximum: FILE_BYTES_MAX }),
    kind: Type.Union([
      Type.Literal('video'),
      Type.Literal('audio'),
      Type.Literal('text'),
      Type.Literal('opaque'),
    ]),
    codec: Type.Optional(Type.String({ maxLength: 64, description: 'RFC 6381, e.g. avc1.4d401f' })),
    width: Type.Optional(Type.Integer({ minimum: 1, maximum: 16384 })),
    height: Type.Optional(Type.Integer({ minimum: 1, maximum: 16384 })),
    frameRate: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1000 })),
    bitrateBps: Type.Optional(Type.Integer({ minimum: 1, description: 'average over the file' })),
    peakBps: Type.Optional(Type.Integer({ minimum: 1, description: 'highest segment' })),
    channels: Type.Optional(Type.Integer({ minimum: 1, maximum: 64 })),
    sampleRate: Type.Optional(Type.Integer({ minimum: 1 })),
    language: Type.Optional(Type.String({ maxLength: 35, description: 'BCP 47' })),
    protection: Type.Union([Type.Literal('none'), Type.Literal('cenc'), Type.Literal('cbcs')]),
    index: Type.Optional(
      Type.Object(
        {
          initEndInclusive: Type.Integer({
            minimum: 0,
            description: 'ftyp + moov: bytes 0 to here',
          }),
          sidxStart: Type.Integer({ minimum: 0 }),
          sidxEndInclusive: Type.Integer({ minimum: 0 }),
        },
        { additionalProperties: false, description: 'where the one sidx of a CMAF file lies' },
      ),
    ),
  },
  { additionalProperties: false },
);
export type FileEntry = Static<typeof FileEntrySchema>;

export const TitleListingSchema = Type.Object(
  {
    titleId: Type.String({ pattern: TITLE_ID_PATTERN }),
    version: Type.Integer({ minimum: 1, description: 'grows with each change of the listing' }),
    kind: Type.Union([Type.Literal('film'), Type.Literal('episode'), Type.Literal('opaque')]),
    name: Type.String({ minLength: 1, maxLength: 200 }),
    series: Type.Optional(Type.String({ maxLength: 200 })),
    season: Type.Optional(Type.Integer({ minimum: 0 })),
    episode: Type.Optional(Type.Integer({ minimum: 0 })),
    language: Type.Optional(
      Type.String({ maxLength: 35, description: 'original language, BCP 47' }),
    ),
    genre: Type.Optional(Type.String({ maxLength: 64 })),
    durationSeconds: Type.Number({ minimum: 0 }),
    class: Type.Union([
      Type.Literal('release'),
      Type.Literal('catalogue'),
      Type.Literal('children'),
    ]),
    availability: Type.Array(
      Type.Object(
        {
          countries: Type.Array(Type.String({ pattern: '^([A-Z]{2}|\\*)$' }), { minItems: 1 }),
          from: Type.Optional(Type.String({ format: 'date-time' })),
          until: Type.Optional(Type.String({ format: 'date-time' })),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, description: 'where and when it may be shown; "*" is everywhere' },
    ),
    release: Type.Optional(
      Type.Object(
        {
          at: Type.String({ format: 'date-time' }),
          countries: Type.Array(Type.String({ pattern: '^([A-Z]{2}|\\*)$' }), { minItems: 1 }),
          priority: Type.Integer({ minimum: 0, maximum: 9 }),
        },
        { additionalProperties: false },
      ),
    ),
    files: Type.Array(FileEntrySchema, { minItems: 1, maxItems: FILES_PER_TITLE_MAX }),
  },
  { additionalProperties: false },
);
export type TitleListing = Static<typeof TitleListingSchema>;

export const checkTitleListing = checker(TitleListingSchema);

/** True where the listing allows the title in `country` at `atMs`. An unknown country (null) matches only "*". */
export function isAvailable(
  availability: TitleListing['availability'],
  country: string | null,
  atMs: number,
): boolean {
  return availability.some(
    (rule) =>
      (rule.countries.includes('*') || (country !== null && rule.countries.includes(country))) &&
      (rule.from === undefined || Date.parse(rule.from) <= atMs) &&
      (rule.until === undefined || atMs < Date.parse(rule.until)),
  );
}

// ---------------------------------------------------------------- test vectors

/** Reference values for other implementations: content described by (size, byte pattern i mod 251) -> fileId. */
export const FILE_ID_VECTORS: readonly { readonly sizeBytes: number; readonly fileId: FileId }[] = [
  { sizeBytes: 1, fileId: 'WIJYqSaCUVg6K18GJZvLt6xxfvlNB3pWV9c7Yb9qo-Y' },
  { sizeBytes: CHUNK_BYTES, fileId: 'bH6yGX8PoxEocu2KVNOblacbamFY0nx5qY9UXbl0nEQ' },
  { sizeBytes: 3 * CHUNK_BYTES + 1, fileId: 'cT8SCASl1RM2kUzMp7WF6MGJZI2qT6caWIWnB1-BGE8' },
];
