/**
 * What a steering manifest's URL carries about its session, so that any steering node, also after a restart, can answer.
 *
 * base64url(JSON array) "." base64url(first 16 bytes of HMAC-SHA256). The client's address is kept as its /24 or /48
 * only. The MAC key is derived from the token signing key, which all steering nodes share.
 *
 * Shape:      seal(secret, session) -> text; open(secret, text) -> session, and whether it is ours
 * Errors:     null where the text is no blob at all
 * Invariants: (1) open(seal(session)) is that session, verified
 *             (2) nothing unverified decides anything but what its own sender gets back
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { formatPrefix, maskBytes, parsePrefix, type Prefix } from '#base/address.ts';
import { checker } from '#base/config.ts';
import { APPLIANCE_ID_PATTERN } from '#control-plane/contract.ts';
import { TITLE_ID_PATTERN } from '#upstream/contract.ts';
import { unmapped } from './place.ts';

const ASSIGNED_MAX = 8;
export const BLOB_CHARACTERS_MAX = 1800; // a template of 512 characters with all else; Fastify takes 2,048
const MAC_BYTES = 16;
const CLIENT_BITS_V4 = 24;
const CLIENT_BITS_V6 = 48;

export interface Session {
  readonly session: string;
  readonly client: Prefix;
  readonly country: string | null; // as told by the playback service
  readonly titleId: string;
  readonly assigned: readonly string[]; // pathway ids, best first, the origin last
  readonly snapshot: number; // epoch of the assignment
  readonly issuedAtSeconds: number;
  readonly template: string | null; // playlists of boxes that are in no initial playlist: HLS clones are made from it
}

const fields = [
  Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }),
  Type.String({ maxLength: 50 }),
  Type.Union([Type.Null(), Type.String({ pattern: '^[A-Z]{2}$' })]),
  Type.String({ pattern: TITLE_ID_PATTERN }),
  Type.Array(Type.String({ pattern: APPLIANCE_ID_PATTERN }), {
    minItems: 1,
    maxItems: ASSIGNED_MAX,
    uniqueItems: true,
  }),
  Type.Integer({ minimum: 0 }),
  Type.Integer({ minimum: 0 }),
] as const;
const BlobSchema = Type.Tuple([
  Type.Literal(2),
  ...fields,
  Type.Union([Type.Null(), Type.String({ maxLength: 512 })]),
]);
/** Before there were clones: URLs of sessions that began then. */
const OldBlobSchema = Type.Tuple([Type.Literal(1), ...fields]);
const checkOldBlob = checker(OldBlobSchema);
const checkBlob = checker(BlobSchema);

/** The MAC key: from the private scalar of the token key, for this use only. */
export function blobSecretOf(privateScalar: string): Buffer {
  const secret = Buffer.from(privateScalar, 'base64url');
  return Buffer.from(hkdfSync('sha256', secret, '', 'nightfill steering session 1', 32));
}

/** The block of clients that a session is remembered by. */
export function clientBlock(address: Uint8Array): Prefix {
  const bytes = unmapped(address);
  const length = bytes.length === 4 ? CLIENT_BITS_V4 : CLIENT_BITS_V6;
  return { family: bytes.length === 4 ? 4 : 6, bytes: maskBytes(bytes, length), length };
}

export function sealSession(secret: Buffer, session: Session): string {
  const fields: Static<typeof BlobSchema> = [
    2,
    session.session,
    formatPrefix(session.client),
    session.country,
    session.titleId,
    [...session.assigned],
    session.snapshot,
    session.issuedAtSeconds,
    session.template,
  ];
  const body = Buffer.from(JSON.stringify(fields)).toString('base64url');
  return `${body}.${macOf(secret, body).toString('base64url')}`;
}

export function openSession(
  secret: Buffer,
  text: string,
): { readonly session: Session; readonly isVerified: boolean } | null {
  if (text.length > BLOB_CHARACTERS_MAX) return null;
  const dot = text.indexOf('.');
  const body = dot === -1 ? text : text.slice(0, dot);
  const parsed = parseJson(Buffer.from(body, 'base64url').toString('utf8'));
  const checked = checkBlob(parsed);
  const old = checked.ok ? checked : checkOldBlob(parsed);
  if (!old.ok) return null;
  const [, session, clientText, country, titleId, assigned, snapshot, issuedAtSeconds] = old.value;
  const template = checked.ok ? checked.value[8] : null;
  const client = parsePrefix(clientText);
  if (client === null) return null;
  const mac = Buffer.from(dot === -1 ? '' : text.slice(dot + 1), 'base64url');
  const expected = macOf(secret, body);
  return {
    session: {
      session,
      client,
      country,
      titleId,
      assigned,
      snapshot,
      issuedAtSeconds,
      template,
    },
    isVerified: mac.length === expected.length && timingSafeEqual(mac, expected),
  };
}

function macOf(secret: Buffer, body: string): Buffer {
  return createHmac('sha256', secret).update(body).digest().subarray(0, MAC_BYTES);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
