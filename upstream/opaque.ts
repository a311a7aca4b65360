/**
 * Titles of seeded bytes, made without an encoder: for checks that must recompute every byte, and for a catalogue to plan with.
 *
 * Shape:      parseOpaqueSpec(text) -> OpaqueSpec | problems; opaqueTitles(spec) -> titles with their files; opaqueBytes(seed, size) -> pieces
 * Units:      bytes; "48MiB", "3145729" and ranges "256KiB..2MiB", both ends inclusive
 * Invariants: the same spec gives the same titles, sizes and bytes on every machine and in every version
 */
import { createCipheriv, createHash } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { withDefaults } from '#base/config.ts';
import { messageOf, type Outcome } from '#base/outcome.ts';
import { seededRandom } from '#base/random.ts';
import { parseBytes } from '#base/units.ts';
import { FILE_BYTES_MAX, FILES_PER_TITLE_MAX, TITLE_ID, type TitleId } from './contract.ts';

export const OPAQUE_TITLES_MAX = 10_000;
const SPEC_CHARACTERS_MAX = 16 * 1024;
const PIECE_BYTES = 256 * 1024;

/** The specification as JSON; as inline text the same fields are written `files=4x48MiB,2x3145729;seed=7;titles=1`. */
export const OpaqueSpecSchema = Type.Object(
  {
    files: Type.Array(Type.String({ maxLength: 64 }), {
      minItems: 1,
      maxItems: FILES_PER_TITLE_MAX,
      description: 'per title, "COUNTxSIZE" or "COUNTxSIZE..SIZE"; COUNT may be left out',
    }),
    seed: Type.Integer({ minimum: 0, maximum: 0xffffffff, default: 1 }),
    titles: Type.Integer({ minimum: 1, maximum: OPAQUE_TITLES_MAX, default: 1 }),
  },
  { additionalProperties: false },
);

export interface OpaqueFileGroup {
  readonly count: number;
  readonly bytesMin: number;
  readonly bytesMax: number;
}

export interface OpaqueSpec {
  readonly files: readonly OpaqueFileGroup[];
  readonly seed: number;
  readonly titles: number;
}

export interface OpaqueFile {
  readonly seed: string; // of opaqueBytes
  readonly sizeBytes: number;
}

export interface OpaqueTitle {
  readonly titleId: TitleId;
  readonly name: string;
  readonly files: readonly OpaqueFile[];
}

/** `text` is inline text or the content of a JSON file. Every problem is listed. */
export function parseOpaqueSpec(text: string): Outcome<OpaqueSpec, readonly string[]> {
  if (text.length > SPEC_CHARACTERS_MAX) {
    return { ok: false, failure: [`longer than ${SPEC_CHARACTERS_MAX} characters`] };
  }
  const raw = text.trimStart().startsWith('{') ? readJson(text) : readInline(text);
  if (!raw.ok) return raw;
  const checked = withDefaults(OpaqueSpecSchema, raw.value);
  if (!checked.ok) return checked;
  return readGroups(checked.value);
}

export interface OpaqueNames {
  readonly titleId?: TitleId | undefined;
  readonly name?: string | undefined;
}

/** The titles of a spec. Without a name they are called by a hash of the spec: two specs never share a title. */
export function opaqueTitles(spec: OpaqueSpec, names: OpaqueNames = {}): readonly OpaqueTitle[] {
  const hash = createHash('sha256').update(JSON.stringify(spec)).digest('hex').slice(0, 8);
  const idBase = names.titleId ?? `opaque-${hash}`;
  const nameBase = names.name ?? `Opaque ${hash}`;
  const digits = String(spec.titles).length;
  return Array.from({ length: spec.titles }, (_, title) => {
    const number = String(title + 1).padStart(digits, '0');
    const isOnly = spec.titles === 1;
    return {
      titleId: isOnly ? idBase : `${idBase}-${number}`,
      name: isOnly ? nameBase : `${nameBase} ${number}`,
      files: filesOf(spec, title),
    };
  });
}

/** The problem with a base id for `titles` titles, or null. The number that is appended must fit too. */
export function titleIdProblem(titleId: TitleId, titles: number): string | null {
  const longest = titles === 1 ? titleId : `${titleId}-${titles}`;
  return TITLE_ID.test(longest)
    ? null
    : `"${longest}" is no title id: 1 to 64 of A-Z a-z 0-9 _ -, the first a letter or a digit`;
}

/**
 * The bytes of an opaque file, in pieces: the AES-128-CTR key stream of a key made from the seed, so that
 * they do not compress and any reader can make them again at disk speed.
 */
export function* opaqueBytes(seed: string | number, sizeBytes: number): Generator<Buffer> {
  const key = createHash('sha256').update(`nightfill-opaque-1\n${seed}`).digest().subarray(0, 16);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(PIECE_BYTES);
  for (let left = sizeBytes; left > 0; left -= PIECE_BYTES) {
    yield cipher.update(left >= PIECE_BYTES ? zeros : zeros.subarray(0, left));
  }
}

function filesOf(spec: OpaqueSpec, title: number): readonly OpaqueFile[] {
  const files: OpaqueFile[] = [];
  for (const { count, bytesMin, bytesMax } of spec.files) {
    for (let left = count; left > 0; left--) {
      const seed = `${spec.seed}/${title}/${files.length}`;
      const draw = createHash('sha256').update(seed).digest().readUInt32BE(0);
      const sizeBytes =
        bytesMin + Math.floor(seededRandom(draw).next() * (bytesMax - bytesMin + 1));
      files.push({ seed, sizeBytes });
    }
  }
  return files;
}

function readJson(text: string): Outcome<unknown, readonly string[]> {
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch (thrown) {
    return { ok: false, failure: [`not JSON: ${messageOf(thrown)}`] };
  }
}

function readInline(text: string): Outcome<unknown, readonly string[]> {
  const value: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const field of text.split(';')) {
    if (field.trim() === '') continue;
    const equalsAt = field.indexOf('=');
    const name = field.slice(0, Math.max(equalsAt, 0)).trim();
    const content = field.slice(equalsAt + 1).trim();
    if (name in value) problems.push(`"${name}" is given twice`);
    if (name === 'files') value[name] = content.split(',').map((group) => group.trim());
    else if (name === 'seed' || name === 'titles') value[name] = Number(content || NaN);
    else problems.push(`"${field.trim()}" is not understood: files=, seed= and titles= are`);
  }
  return problems.length > 0 ? { ok: false, failure: problems } : { ok: true, value };
}

function readGroups(
  checked: Static<typeof OpaqueSpecSchema>,
): Outcome<OpaqueSpec, readonly string[]> {
  const problems: string[] = [];
  const files: OpaqueFileGroup[] = [];
  for (const text of checked.files) {
    const group = readGroup(text);
    if (group === null) {
      problems.push(
        `files: "${text}" is not COUNTxSIZE or COUNTxSIZE..SIZE, such as 4x48MiB or 1x256KiB..2MiB; a file has 1 byte to 1 TiB`,
      );
    } else {
      files.push(group);
    }
  }
  const filesPerTitle = files.reduce((sum, { count }) => sum + count, 0);
  if (filesPerTitle > FILES_PER_TITLE_MAX) {
    problems.push(`files: ${filesPerTitle} in a title, at most ${FILES_PER_TITLE_MAX}`);
  }
  if (problems.length > 0) return { ok: false, failure: problems };
  return { ok: true, value: { files, seed: checked.seed, titles: checked.titles } };
}

function readGroup(text: string): OpaqueFileGroup | null {
  const match = /^(?:(\d{1,4})x)?([^.x]+(?:\.\d+[^.x]*)?)(?:\.\.(.+))?$/.exec(text);
  if (match === null) return null;
  const count = match[1] === undefined ? 1 : Number(match[1]);
  const bytesMin = parseBytes(match[2]);
  const bytesMax = match[3] === undefined ? bytesMin : parseBytes(match[3]);
  if (count < 1 || bytesMin === null || bytesMax === null) return null;
  if (bytesMin < 1 || bytesMax < bytesMin || bytesMax > FILE_BYTES_MAX) return null;
  return { count, bytesMin, bytesMax };
}
