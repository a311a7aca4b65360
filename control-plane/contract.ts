/**
 * What the control plane tells everybody else: keys, enrolment, grants, manifests, sources, heartbeat answers, fleet snapshots.
 *
 * Trust, in one line: a root key (offline) signs the set of online keys; whoever holds the root's fingerprint
 * can check every document here without asking anybody.
 */
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import {
  fingerprintOf,
  importVerifyingKey,
  openCompact,
  peekPayload,
  signCompact,
  type JWK,
  type SigningKey,
  type VerifyingKey,
} from '#base/jws.ts';
import type { Outcome } from '#base/outcome.ts';
import {
  checkTitleListing,
  FILE_ID_PATTERN,
  TITLE_ID_PATTERN,
  TitleListingSchema,
  type FileId,
  type TitleListing,
} from '#upstream/contract.ts';

export const APPLIANCE_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$'; // also the pathwayId of players
export const SITE_ID_PATTERN = '^[a-z0-9][a-z0-9-]{0,31}$';
export const CLUSTER_ID_PATTERN = '^[a-z0-9][a-z0-9-]{0,31}$';
export const ORIGIN_PATHWAY_ID = 'origin';
export const HOME_UNKNOWN = 'unknown'; // a client in no cluster's prefixes

export type ApplianceId = string;
export type SiteId = string;
export type ClusterId = string;

const applianceId = Type.String({ pattern: APPLIANCE_ID_PATTERN });
const siteId = Type.String({ pattern: SITE_ID_PATTERN });
const clusterId = Type.String({ pattern: CLUSTER_ID_PATTERN });
const fileId = Type.String({ pattern: FILE_ID_PATTERN });
const titleId = Type.String({ pattern: TITLE_ID_PATTERN });
const baseUrl = Type.String({ pattern: '^https?://[^/?#\\s]+$', maxLength: 255 });
const unixMs = Type.Integer({ minimum: 0, description: 'Unix time in milliseconds' });

// ---------------------------------------------------------------- keys

/** What a key may sign. A document is accepted only from a key of its own use. */
export type KeyUse = 'manifest' | 'plan' | 'token' | 'grant';
// manifest: Ed25519; manifests, title listings, fleet snapshots, signed time
// plan:     Ed25519; the planner's plans and orders
// token:    ES256; steering's viewer tokens
// grant:    ES256; fill grants, access and enrolment tokens of the control plane

/** `typ` of each signed document: one kind never passes for another. */
export const JWS_TYPE = {
  onlineKeys: 'nf-online-keys+jws',
  manifest: 'nf-manifest+jws',
  listing: 'nf-listing+jws',
  snapshot: 'nf-snapshot+jws',
  time: 'nf-time+jws',
  plan: 'nf-plan+jws',
  grant: 'nf-grant+jwt',
  access: 'nf-access+jwt',
  enrolment: 'nf-enrolment+jwt',
  assertion: 'nf-assertion+jwt', // signed by a box's own key (RFC 7523)
  possession: 'nf-possession+jwt', // signed by a box's own key: it holds the key that its fill grant names
  denials: 'nf-denials+jws',
  denialProof: 'nf-denial-proof+jws', // signed by a box's own key: what it stopped serving and deleted
  fastTrack: 'nf-fast-track+jws',
  viewer: 'JWT', // RFC 9246 says nothing else
} as const;

export const OnlineKeysSchema = Type.Object(
  {
    version: Type.Integer({ minimum: 1 }),
    issuedAtMs: unixMs,
    keys: Type.Array(
      Type.Object(
        {
          kid: Type.String({ minLength: 1, maxLength: 64 }),
          use: Type.Union([
            Type.Literal('manifest'),
            Type.Literal('plan'),
            Type.Literal('token'),
            Type.Literal('grant'),
          ]),
          issuer: Type.String({ minLength: 1, maxLength: 64 }),
          jwk: Type.Record(Type.String(), Type.Unknown()),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 64 },
    ),
  },
  { additionalProperties: false },
);
export type OnlineKeys = Static<typeof OnlineKeysSchema>;
const checkOnlineKeys = checker(OnlineKeysSchema);

/** Answer of `GET /v1/keys`: anybody may read it, nobody needs to trust who passed it on. */
export const KeysAnswerSchema = Type.Object({
  root: Type.Record(Type.String(), Type.Unknown(), { description: 'the public root key, a JWK' }),
  online: Type.String({ description: 'OnlineKeys as a JWS by the root key' }),
});
export type KeysAnswer = Static<typeof KeysAnswerSchema>;
export const checkKeysAnswer = checker(KeysAnswerSchema);

/** Verified keys, by use, then by key id. Swapped whole. */
export interface KeyRing {
  readonly version: number;
  readonly byUse: Readonly<Record<KeyUse, ReadonlyMap<string, VerifyingKey>>>;
  readonly issuerOf: ReadonlyMap<string, string>; // kid -> issuer
}

/** Opens a keys answer with nothing but the root's fingerprint. The refusal says what does not fit. */
export async function openKeys(
  answer: KeysAnswer,
  rootFingerprint: string,
): Promise<Outcome<KeyRing, string>> {
  const rootJwk = answer.root as JWK;
  const actual = await fingerprintOf(rootJwk).catch(() => 'unreadable');
  if (actual !== rootFingerprint) {
    return {
      ok: false,
      failure: `the root key's fingerprint is ${actual}, expected ${rootFingerprint}`,
    };
  }
  const root = await importVerifyingKey(rootJwk);
  if (root === null) return { ok: false, failure: 'the root key is neither Ed25519 nor P-256' };
  const opened = await openCompact(answer.online, new Map([[root.kid, root]]), JWS_TYPE.onlineKeys);
  if (!opened.ok)
    return { ok: false, failure: `the key set is not signed by the root: ${opened.failure}` };
  const checked = checkOnlineKeys(opened.value.payload);
  if (!checked.ok) return { ok: false, failure: checked.failure.join('; ') };
  const byUse: Record<KeyUse, Map<string, VerifyingKey>> = {
    manifest: new Map(),
    plan: new Map(),
    token: new Map(),
    grant: new Map(),
  };
  const issuerOf = new Map<string, string>();
  for (const entry of checked.value.keys) {
    const key = await importVerifyingKey(entry.jwk);
    if (key === null)
      return { ok: false, failure: `key ${entry.kid} is neither Ed25519 nor P-256` };
    if (key.kid !== entry.kid)
      return { ok: false, failure: `key ${entry.kid} is not what it is called` };
    byUse[entry.use].set(key.kid, key);
    issuerOf.set(key.kid, entry.issuer);
  }
  return { ok: true, value: { version: checked.value.version, byUse, issuerOf } };
}

// ---------------------------------------------------------------- title listings, as the control plane signed them

/** Opens a signed listing from any source: whether a file belongs to a title is decided by this alone. */
export async function openListing(
  text: string,
  keys: KeyRing,
): Promise<Outcome<TitleListing, string>> {
  const opened = await openCompact(text, keys.byUse.manifest, JWS_TYPE.listing);
  if (!opened.ok) return { ok: false, failure: `listing signature: ${opened.failure}` };
  const checked = checkTitleListing(opened.value.payload);
  return checked.ok ? checked : { ok: false, failure: checked.failure.join('; ') };
}

// ---------------------------------------------------------------- enrolment

export const ENROLMENT_TOKEN_LIFE_MS = 24 * 3600 * 1000;

/** Payload of an enrolment token (JWS typ nf-enrolment+jwt by a grant key): bound to one appliance and site. */
export const EnrolmentClaimsSchema = Type.Object({
  jti: Type.String({ minLength: 8, maxLength: 64 }),
  sub: applianceId,
  site: siteId,
  cluster: clusterId,
  controlPlaneUrl: baseUrl,
  rootFingerprint: Type.String({ minLength: 43, maxLength: 43 }),
  exp: Type.Integer({ description: 'Unix seconds' }),
});
export type EnrolmentClaims = Static<typeof EnrolmentClaimsSchema>;
const checkEnrolmentClaims = checker(EnrolmentClaimsSchema);

/** What a new box reads in its token before it knows any key. It trusts only the fingerprint, which its operator handed it. */
export function readEnrolmentToken(token: string): Outcome<EnrolmentClaims, readonly string[]> {
  return checkEnrolmentClaims(peekPayload(token));
}

/** `POST /v1/enrol`: 409 when the identity is enrolled already with another key (and an alarm is raised). */
export const EnrolRequestSchema = Type.Object(
  {
    token: Type.String({ maxLength: 4096 }),
    publicJwk: Type.Record(Type.String(), Type.Unknown(), {
      description: "the box's own ES256 key",
    }),
    baseUrl: Type.Unsafe<string>({ ...baseUrl, description: 'where viewers and peers reach it' }),
    applianceClass: Type.Union([Type.Literal('flash'), Type.Literal('storage')]),
    storageBytes: Type.Integer({ minimum: 0, description: 'what the planner may fill' }),
    servingBps: Type.Integer({ minimum: 0, description: 'measured or configured serving limit' }),
  },
  { additionalProperties: false },
);
export type EnrolRequest = Static<typeof EnrolRequestSchema>;

export const EnrolAnswerSchema = Type.Object({
  applianceId,
  siteId,
  clusterId,
  keys: KeysAnswerSchema,
});
export type EnrolAnswer = Static<typeof EnrolAnswerSchema>;
export const checkEnrolAnswer = checker(EnrolAnswerSchema);

/**
 * `POST /v1/token` (RFC 7523): {grant_type: ASSERTION_GRANT_TYPE, assertion} -> {access_token, token_type, expires_in}.
 * The assertion is a JWS (typ nf-assertion+jwt) by the box's key: {iss, sub: applianceId, aud: "control-plane", jti, iat, exp <= iat + 60}.
 */
export const ASSERTION_GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const ASSERTION_AUDIENCE = 'control-plane';
export const ASSERTION_LIFE_SECONDS_MAX = 60;
export const ACCESS_TOKEN_LIFE_SECONDS = 3600;

export const AccessTokenAnswerSchema = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ minimum: 1 }),
});
export const checkAccessTokenAnswer = checker(AccessTokenAnswerSchema);

// ---------------------------------------------------------------- fill grants

export const FILL_GRANT_AUDIENCE = 'fill';
export const FILL_GRANT_LIFE_SECONDS = 7 * 24 * 3600;
export const NOT_BEFORE_SLACK_SECONDS = 60; // issuers set nbf this far back

/** A grant (JWS typ nf-grant+jwt by a grant key): good only with a proof by the key that `cnf.jkt` names. */
export const FillGrantSchema = Type.Object({
  iss: Type.Literal('control-plane'),
  sub: applianceId,
  aud: Type.Literal(FILL_GRANT_AUDIENCE),
  cnf: Type.Object({ jkt: Type.String() }),
  iat: Type.Integer(),
  nbf: Type.Integer(),
  exp: Type.Integer(),
});
export type FillGrant = Static<typeof FillGrantSchema>;
const checkFillGrant = checker(FillGrantSchema);

export type GrantRefusal = 'grant-invalid' | 'grant-expired' | 'grant-not-yet';

/** Opens the bearer grant of a box that wants fill. Times are Unix seconds on the verifier's trusted clock. */
export async function openFillGrant(
  text: string,
  keys: KeyRing,
  nowSeconds: number,
): Promise<Outcome<FillGrant, GrantRefusal>> {
  const opened = await openCompact(text, keys.byUse.grant, JWS_TYPE.grant);
  if (!opened.ok) return { ok: false, failure: 'grant-invalid' };
  const checked = checkFillGrant(opened.value.payload);
  if (!checked.ok) return { ok: false, failure: 'grant-invalid' };
  if (checked.value.exp <= nowSeconds) return { ok: false, failure: 'grant-expired' };
  if (checked.value.nbf > nowSeconds) return { ok: false, failure: 'grant-not-yet' };
  return checked;
}

/** Header beside the grant: a JWT by the box's own key (typ nf-possession+jwt), for one source, at most 60 s old. */
export const POSSESSION_HEADER = 'nightfill-possession';
export const POSSESSION_LIFE_SECONDS = 60;
const POSSESSION_CLOCK_SLACK_SECONDS = 30; // a box's trusted clock may run this far ahead of its source's

export const PossessionSchema = Type.Object({
  iss: applianceId,
  aud: Type.String({ maxLength: 64, description: 'the source: an applianceId, or "origin"' }),
  iat: Type.Integer(),
  jwk: Type.Record(Type.String(), Type.Unknown(), {
    description: 'the public key whose thumbprint the grant names',
  }),
});
export type Possession = Static<typeof PossessionSchema>;
const checkPossession = checker(PossessionSchema);

export function signPossession(
  key: SigningKey,
  boxId: ApplianceId,
  sourceId: string,
  nowSeconds: number,
): Promise<string> {
  const { kty, crv, x, y } = key.publicJwk;
  const claims = { iss: boxId, aud: sourceId, iat: nowSeconds, jwk: { kty, crv, x, y } };
  return signCompact(key, JWS_TYPE.possession, claims);
}

export type PossessionRefusal =
  | 'possession-missing'
  | 'possession-invalid' // not signed by the key that the grant names
  | 'possession-audience' // made for another source
  | 'possession-stale'; // older than POSSESSION_LIFE_SECONDS, or of the future

/** Opens the proof that whoever shows `grant` holds its key. `sourceId`: who is asked. Its age is another question. */
export async function openPossession(
  text: string,
  grant: FillGrant,
  sourceId: string,
): Promise<Outcome<Possession, PossessionRefusal>> {
  const claimed = checkPossession(peekPayload(text));
  if (!claimed.ok) return { ok: false, failure: 'possession-invalid' };
  const key = await importVerifyingKey(claimed.value.jwk);
  if (key === null || key.kid !== grant.cnf.jkt)
    return { ok: false, failure: 'possession-invalid' };
  const opened = await openCompact(text, new Map([[key.kid, key]]), JWS_TYPE.possession);
  if (!opened.ok || claimed.value.iss !== grant.sub) {
    return { ok: false, failure: 'possession-invalid' };
  }
  return claimed.value.aud === sourceId ? claimed : { ok: false, failure: 'possession-audience' };
}

export function isPossessionFresh({ iat }: Possession, nowSeconds: number): boolean {
  const age = nowSeconds - iat;
  return age <= POSSESSION_LIFE_SECONDS && age >= -POSSESSION_CLOCK_SLACK_SECONDS;
}

// ---------------------------------------------------------------- denials

/**
 * What must not be served any more. `title`: every file of it under this title; `file`: under every title; `key`, `issuer`: every
 * viewer token of a key id or an issuer; `appliance`: a box whose grants no source accepts any more.
 */
export const DENIALS_MAX = 20_000;
export const DENIALS_BYTES_MAX = 8 * 1024 * 1024; // as a JWS

export const DenialKindSchema = Type.Union([
  Type.Literal('title'),
  Type.Literal('file'),
  Type.Literal('key'),
  Type.Literal('issuer'),
  Type.Literal('appliance'),
]);
export type DenialKind = Static<typeof DenialKindSchema>;

export const DenialSchema = Type.Object(
  {
    id: Type.Integer({ minimum: 1 }),
    kind: DenialKindSchema,
    value: Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9._-]+$' }),
    sinceMs: unixMs,
  },
  { additionalProperties: false },
);
export type Denial = Static<typeof DenialSchema>;

/** All denials in force; signed by a manifest key, pushed to every box, kept on its disk. Versions only grow. */
export const DenialsDocumentSchema = Type.Object(
  {
    version: Type.Integer({ minimum: 1 }),
    issuedAtMs: unixMs,
    denials: Type.Array(DenialSchema, { maxItems: DENIALS_MAX }),
  },
  { additionalProperties: false },
);
export type DenialsDocument = Static<typeof DenialsDocumentSchema>;
const checkDenialsDocument = checker(DenialsDocumentSchema);

export async function openDenials(
  text: string,
  keys: KeyRing,
): Promise<Outcome<DenialsDocument, string>> {
  if (text.length > DENIALS_BYTES_MAX) {
    return { ok: false, failure: `it has more than ${DENIALS_BYTES_MAX} bytes` };
  }
  const opened = await openCompact(text, keys.byUse.manifest, JWS_TYPE.denials);
  if (!opened.ok) return { ok: false, failure: `signature: ${opened.failure}` };
  const checked = checkDenialsDocument(opened.value.payload);
  return checked.ok ? checked : { ok: false, failure: checked.failure.slice(0, 3).join('; ') };
}

// ---------------------------------------------------------------- fast track

/** Files that boxes fetch at once, outside their window too, within `bytesPerHourMax` a box. Signed by a manifest key. */
export const FAST_TRACK_MAX = 2000;
export const FastTrackEntrySchema = Type.Object(
  {
    fileId,
    sizeBytes: Type.Integer({ minimum: 1 }),
    titles: Type.Array(titleId, { minItems: 1, maxItems: 64 }),
    clusters: Type.Array(clusterId, { maxItems: 1000, description: 'empty: every cluster' }),
    untilMs: unixMs,
    why: Type.String({ maxLength: 120 }),
  },
  { additionalProperties: false },
);
export type FastTrackEntry = Static<typeof FastTrackEntrySchema>;

export const FastTrackListSchema = Type.Object(
  {
    version: Type.Integer({ minimum: 1 }),
    issuedAtMs: unixMs,
    bytesPerHourMax: Type.Integer({ minimum: 0, description: 'of one box, outside its window' }),
    entries: Type.Array(FastTrackEntrySchema, { maxItems: FAST_TRACK_MAX }),
  },
  { additionalProperties: false },
);
export type FastTrackList = Static<typeof FastTrackListSchema>;
const checkFastTrackList = checker(FastTrackListSchema);

export async function openFastTrack(
  text: string,
  keys: KeyRing,
): Promise<Outcome<FastTrackList, string>> {
  const opened = await openCompact(text, keys.byUse.manifest, JWS_TYPE.fastTrack);
  if (!opened.ok) return { ok: false, failure: `signature: ${opened.failure}` };
  const checked = checkFastTrackList(opened.value.payload);
  return checked.ok ? checked : { ok: false, failure: checked.failure.slice(0, 3).join('; ') };
}

// ---------------------------------------------------------------- fill manifest

/**
 * `GET /v1/manifest` -> 200 `application/vnd.nightfill.manifest`: one line with the signed header (JWS typ nf-manifest+jws),
 * "\n", then the body: NDJSON, zstd. 304 when `If-None-Match: "<version>"` is current; 404 while there is no plan.
 * `?base=<version>`: a delta on that version will do. It holds what comes (ManifestEntry), what has other titles or another
 * forecast by a factor of MANIFEST_FORECAST_FACTOR (ManifestEntry), and what goes (ManifestDrop: the first characters of its id,
 * which mean one file of the base alone; the header's digest says whether both sides meant the same one).
 */
export const MANIFEST_FORECAST_FACTOR = 4; // below it a forecast is not worth a line: each one changes each night
export const MANIFEST_DROP_CHARACTERS = 10; // 60 bits: two files of 400,000 share them once in fourteen million bases
export const MANIFEST_DELTAS_MAX = 7; // then a full one: what was not worth a line must not add up
export const MANIFEST_CONTENT_TYPE = 'application/vnd.nightfill.manifest';
export const MANIFEST_ENTRIES_MAX = 1_000_000;
export const MANIFEST_BODY_BYTES_MAX = 64 * 1024 * 1024; // compressed
export const MANIFEST_EXPANDED_BYTES_MAX = 512 * 1024 * 1024; // a bound against decompression bombs

export const ManifestHeaderSchema = Type.Object(
  {
    applianceId,
    clusterId,
    version: Type.Integer({ minimum: 1 }),
    kind: Type.Union([Type.Literal('full'), Type.Literal('delta')]),
    baseVersion: Type.Integer({ minimum: 0, description: '0 for a full manifest' }),
    epoch: Type.Integer({ minimum: 1, description: 'catalogue epoch of the plan' }),
    planDate: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' }),
    issuedAtMs: unixMs,
    entries: Type.Integer({ minimum: 0, maximum: MANIFEST_ENTRIES_MAX }),
    bodySha256: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      description: 'of the compressed body',
    }),
    setDigest: Type.String({
      pattern: '^[0-9a-f]{32}$',
      description: 'setDigestOf the resulting full set',
    }),
    fillDensity: Type.Number({
      minimum: 0,
      description: 'forecast views per day above which a miss is kept at once',
    }),
    baseDigest: Type.Optional(
      Type.String({
        pattern: '^[0-9a-f]{32}$',
        description: 'of a delta: setDigestOf the set that it changes',
      }),
    ),
  },
  { additionalProperties: false },
);
export type ManifestHeader = Static<typeof ManifestHeaderSchema>;
export const checkManifestHeader = checker(ManifestHeaderSchema);

/** One line of the body. */
export const ManifestEntrySchema = Type.Object(
  {
    fileId,
    sizeBytes: Type.Integer({ minimum: 1 }),
    titles: Type.Array(titleId, { minItems: 1, maxItems: 64 }),
    density: Type.Number({
      minimum: 0,
      description: 'forecast views of this file per day at this box',
    }),
    urgent: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type ManifestEntry = Static<typeof ManifestEntrySchema>;
export const checkManifestEntry = checker(ManifestEntrySchema);

/** A line of a delta: the one file of the base whose id begins so leaves the set. */
export const ManifestDropSchema = Type.Object(
  { drop: Type.String({ pattern: `^[A-Za-z0-9_-]{${MANIFEST_DROP_CHARACTERS}}$` }) },
  { additionalProperties: false },
);
export type ManifestDrop = Static<typeof ManifestDropSchema>;
export const checkManifestDrop = checker(ManifestDropSchema);

/**
 * Order-independent digest of a set of files: the sum of the first 128 bits of each id, mod 2^128, as 32 hex digits.
 * A fileId is itself a SHA-256, so its own leading bits are the hash.
 */
export class SetDigest {
  readonly #words = new Uint32Array(4); // most significant first

  add(id: FileId): void {
    this.#change(id, 1);
  }

  remove(id: FileId): void {
    this.#change(id, -1);
  }

  toString(): string {
    return Array.from(this.#words, (word) => word.toString(16).padStart(8, '0')).join('');
  }

  #change(id: FileId, sign: 1 | -1): void {
    ID_BYTES.write(id, 'base64url');
    let carry = 0;
    for (let at = 3; at >= 0; at--) {
      const sum = this.#words[at] + sign * ID_BYTES.readUInt32BE(4 * at) + carry;
      this.#words[at] = sum; // mod 2^32, as the array keeps it
      carry = Math.floor(sum / 2 ** 32);
    }
  }
}

const ID_BYTES = Buffer.alloc(32); // reused: 400,000 ids at a start

export function setDigestOf(ids: Iterable<FileId>): string {
  const digest = new SetDigest();
  for (const id of ids) digest.add(id);
  return digest.toString();
}

// ---------------------------------------------------------------- fill sources

/** `POST /v1/sources`: where each file may be fetched from, best first. `delayMs`: not before this long after the box first asked (escalation); always 0 for the purpose "miss". */
export const SOURCES_FILES_MAX = 1000;
export const SourcesRequestSchema = Type.Object(
  {
    fileIds: Type.Array(fileId, { minItems: 1, maxItems: SOURCES_FILES_MAX }),
    purpose: Type.Union([Type.Literal('fill'), Type.Literal('miss')]),
  },
  { additionalProperties: false },
);
export type SourcesRequest = Static<typeof SourcesRequestSchema>;

export const FillSourceSchema = Type.Object({
  kind: Type.Union([Type.Literal('peer'), Type.Literal('tier'), Type.Literal('origin')]),
  id: applianceId, // or ORIGIN_PATHWAY_ID
  baseUrl,
  delayMs: Type.Integer({ minimum: 0 }),
});
export type FillSource = Static<typeof FillSourceSchema>;

export const FillSourcesSchema = Type.Object({
  version: Type.Integer({ minimum: 0 }),
  files: Type.Array(
    Type.Object({
      fileId,
      titles: Type.Array(titleId, { maxItems: 64, description: 'empty where the file is unknown' }),
      sources: Type.Array(FillSourceSchema, { maxItems: 16 }),
    }),
  ),
  neighbours: Type.Optional(
    Type.Array(FillSourceSchema, {
      maxItems: 32,
      description:
        'boxes to ask when nobody ranks sources any more: the site’s own, and some of other sites',
    }),
  ),
});
export type FillSources = Static<typeof FillSourcesSchema>;
export const checkFillSources = checker(FillSourcesSchema);

// ---------------------------------------------------------------- heartbeat answer

/** Answer to each heartbeat: the current version of everything a box may have to pull. */
export const HeartbeatAnswerSchema = Type.Object({
  type: Type.Literal('answer'),
  sequence: Type.Integer({ minimum: 0 }),
  signedTime: Type.String({
    description: 'JWS typ nf-time+jws: {nowMs}; one signature a second for the whole fleet',
  }),
  versions: Type.Object({
    manifest: Type.Integer({ minimum: 0 }),
    sources: Type.Integer({ minimum: 0 }),
    keys: Type.Integer({ minimum: 0 }),
    denials: Type.Integer({ minimum: 0 }),
    configuration: Type.Integer({ minimum: 0 }),
    fastTrack: Type.Optional(Type.Integer({ minimum: 0 })),
  }),
  fillWindow: Type.Object({
    open: Type.Boolean({ description: 'computed by the control plane in the site’s time zone' }),
    closesAtMs: Type.Union([unixMs, Type.Null()]),
    opensAtMs: Type.Union([unixMs, Type.Null()]),
    hours: Type.Optional(Type.Number({ minimum: 0, description: 'how long it is open each day' })),
  }),
  resyncHoldings: Type.Boolean({
    description: 'the digest did not match: send a holdings-full frame',
  }),
});
export type HeartbeatAnswer = Static<typeof HeartbeatAnswerSchema>;
export const checkHeartbeatAnswer = checker(HeartbeatAnswerSchema);

/** A signed document that is pushed over the heartbeat connection at once, and once more with each new connection. */
export const PushedDocumentSchema = Type.Object({
  type: Type.Union([Type.Literal('denials'), Type.Literal('fast-track')]),
  document: Type.String({ maxLength: DENIALS_BYTES_MAX }),
});
export type PushedDocument = Static<typeof PushedDocumentSchema>;

/** Everything that the control plane says on a heartbeat connection. */
export const ControlPlaneFrameSchema = Type.Union([HeartbeatAnswerSchema, PushedDocumentSchema]);
export type ControlPlaneFrame = Static<typeof ControlPlaneFrameSchema>;
export const checkControlPlaneFrame = checker(ControlPlaneFrameSchema);

export const SignedTimeSchema = Type.Object({ nowMs: unixMs });
export const checkSignedTime = checker(SignedTimeSchema);

// ---------------------------------------------------------------- fleet snapshot

/** A fill window in the site's local time. `hours: 24` is always open. */
export const FillWindowSchema = Type.Object(
  {
    startLocal: Type.String({ pattern: '^([01]\\d|2[0-3]):[0-5]\\d$', default: '02:00' }),
    hours: Type.Number({ exclusiveMinimum: 0, maximum: 24, default: 12 }),
    timeZone: Type.String({ default: 'UTC', description: 'IANA name' }),
  },
  { additionalProperties: false },
);
export type FillWindow = Static<typeof FillWindowSchema>;

/** How a cluster is reached: inside the client's own network, over a link of two networks, over an exchange. */
export const LinkClassSchema = Type.Union([
  Type.Literal('embedded'),
  Type.Literal('private-peering'),
  Type.Literal('public-peering'),
]);
export type LinkClass = Static<typeof LinkClassSchema>;

export const SiteSchema = Type.Object(
  {
    siteId,
    name: Type.String({ minLength: 1, maxLength: 120 }),
    country: Type.String({ pattern: '^[A-Z]{2}$' }),
    latitude: Type.Optional(Type.Number({ minimum: -90, maximum: 90 })),
    longitude: Type.Optional(Type.Number({ minimum: -180, maximum: 180 })),
    fillWindow: FillWindowSchema,
    clusters: Type.Array(
      Type.Object(
        {
          clusterId,
          prefixes: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 100_000 }),
          linkClass: Type.Optional(LinkClassSchema),
          preference: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
          parent: Type.Optional(
            Type.Unsafe<ClusterId>({
              ...clusterId,
              description:
                'the metro or exchange that takes what this cluster cannot serve; where it is left out, the one whose prefixes cover these',
            }),
          ),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 16 },
    ),
    routes: Type.Optional(
      Type.Object(
        {
          originAs: Type.Optional(
            Type.Array(Type.Integer({ minimum: 1, maximum: 0xffffffff }), {
              maxItems: 10_000,
              description: 'AS numbers that may originate what its routers announce',
            }),
          ),
          prefixSet: Type.Optional(
            Type.Array(Type.String({ maxLength: 64 }), {
              maxItems: 100_000,
              description:
                'prefixes that they may announce: "23.0.0.0/16", "23.0.0.0/16 ge 20 le 24"',
            }),
          ),
          mayAnnounceFor: Type.Optional(
            Type.Array(siteId, {
              maxItems: 1000,
              description: 'sites whose prefixes, or parts of them, it may announce as well',
            }),
          ),
          peerRoutesMax: Type.Optional(
            Type.Integer({ minimum: 1, maximum: 2_000_000, description: 'of one peer; 5000' }),
          ),
        },
        {
          additionalProperties: false,
          description: 'what routers may announce (BMP); without origins and prefixes: nothing',
        },
      ),
    ),
  },
  { additionalProperties: false },
);
export type Site = Static<typeof SiteSchema>;

/**
 * Health of a box as the control plane sees it. `serving`: new clients may be sent there.
 * `gone-hard`: its connection was closed or refused; `gone-silent`: no heartbeat in time.
 */
export type ApplianceStanding = 'serving' | 'draining' | 'down' | 'gone-hard' | 'gone-silent';

export const SnapshotApplianceSchema = Type.Object({
  applianceId,
  siteId,
  clusterId,
  baseUrl,
  standing: Type.Union([
    Type.Literal('serving'),
    Type.Literal('draining'),
    Type.Literal('down'),
    Type.Literal('gone-hard'),
    Type.Literal('gone-silent'),
  ]),
  reasons: Type.Array(Type.String({ maxLength: 200 }), { maxItems: 16 }),
  since: unixMs,
  weight: Type.Number({
    minimum: 0,
    description: 'share of its tier, by what it can serve',
  }),
  admit: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      description:
        'share of the sessions meant for it that it is to have, absent: all; the others go to the next. The weight loop owns it',
    }),
  ),
  servingBps: Type.Number({ minimum: 0 }),
  egressBps: Type.Number({ minimum: 0 }),
  heartbeatAtMs: unixMs,
});
export type SnapshotAppliance = Static<typeof SnapshotApplianceSchema>;

/** Holdings by ordinal of the snapshot's epoch. */
export const SnapshotHoldingsSchema = Type.Object({
  applianceId,
  version: Type.Integer({ minimum: 0 }),
  ordinals: Type.Array(Type.Integer({ minimum: 0 })),
});

export const SnapshotTitleSchema = Type.Object({
  titleId,
  availability: TitleListingSchema.properties.availability,
  durationSeconds: Type.Number({ minimum: 0 }),
  files: Type.Array(
    Type.Object({
      fileId,
      ordinal: Type.Integer({ minimum: 0 }),
      sizeBytes: Type.Integer({ minimum: 1 }),
    }),
  ),
});
export type SnapshotTitle = Static<typeof SnapshotTitleSchema>;

export const SnapshotClusterSchema = Type.Object({
  clusterId,
  siteId,
  country: Type.String(),
  linkClass: Type.Optional(LinkClassSchema), // absent: embedded
  preference: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 100,
      description: 'the site’s own wish, instead of its class: embedded 10, private 20, public 30',
    }),
  ),
  latitude: Type.Optional(Type.Number({ minimum: -90, maximum: 90 })), // of the site, where it is known
  longitude: Type.Optional(Type.Number({ minimum: -180, maximum: 180 })),
  prefixes: Type.Array(Type.String()),
  learned: Type.Optional(
    Type.Array(Type.Tuple([Type.String(), Type.Number({ minimum: 1 })]), {
      description: 'prefix and rank, as its routers announce them: a smaller rank is nearer',
    }),
  ),
});
export type SnapshotCluster = Static<typeof SnapshotClusterSchema>;

/** Another CDN that viewers may be sent to after every box: overflow, regions without boxes, the last place of a list. */
export const EXTERNALS_MAX = 16;
export const ExternalCdnSchema = Type.Object({
  externalId: Type.Unsafe<string>({ ...applianceId, description: 'its pathwayId' }),
  name: Type.String({ minLength: 1, maxLength: 120 }),
  baseUrl,
  tokens: Type.Union([Type.Literal('rfc9246'), Type.Literal('hmac')]), // steering has the key
  costPerGb: Type.Number({ minimum: 0, description: '10^9 bytes; the money of budgetPerDay' }),
  regions: Type.Array(
    Type.Object({
      countries: Type.Array(Type.String({ pattern: '^([A-Z]{2}|\\*)$' }), { minItems: 1 }),
      commitBps: Type.Number({ minimum: 0, description: 'paid for in any case' }),
      capBps: Type.Number({ minimum: 0 }),
    }),
    { maxItems: 300, description: 'the first that names the country counts; none: not sent there' },
  ),
  budgetPerDay: Type.Optional(Type.Number({ minimum: 0, description: 'UTC days; absent: none' })),
});
export type ExternalCdn = Static<typeof ExternalCdnSchema>;

/**
 * `POST /v1/steering/verdicts`: what a steering node's own probes say of the boxes that it, or another node, suspects. Sent every
 * second: a node that was not heard for STEERING_NODE_SILENT_MS counts no more.
 */
export const STEERING_NODE_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$';
export const STEERING_NODES_MAX = 256;
export const STEERING_VERDICTS_MAX = 1024; // a node that doubts more boxes than this is itself to be doubted
export const STEERING_NODE_SILENT_MS = 5000;
export const STEERING_VERDICT_AGE_MS_MAX = 180_000; // three probes of the longest period
const nodeId = Type.String({ pattern: STEERING_NODE_ID_PATTERN });
const verdict = {
  applianceId,
  family: Type.Union([Type.Literal(4), Type.Literal(6)]),
  name: Type.Union([
    Type.Literal('reachable'),
    Type.Literal('suspect'),
    Type.Literal('unreachable'),
  ]),
};
export const SteeringReportSchema = Type.Object(
  {
    nodeId,
    verdicts: Type.Array(
      Type.Object(
        {
          ...verdict,
          ageMs: Type.Integer({
            minimum: 0,
            maximum: 86_400_000,
            description: 'of the last probe',
          }),
        },
        { additionalProperties: false },
      ),
      { maxItems: STEERING_VERDICTS_MAX },
    ),
  },
  { additionalProperties: false },
);
export type SteeringReport = Static<typeof SteeringReportSchema>;

/** One live steering node as all of them see it. */
export const SteeringNodeSchema = Type.Object({
  nodeId,
  verdicts: Type.Array(Type.Object(verdict), { maxItems: STEERING_VERDICTS_MAX }),
});
export type SteeringNode = Static<typeof SteeringNodeSchema>;

/** What boxes of a cluster measured towards one client aggregate (/24 or /48), folded over the last hour. Buckets: powers of two. */
export const PathQualityEntrySchema = Type.Object({
  prefix: Type.String({ maxLength: 64 }),
  clusterId,
  firstByteMs: Type.Array(Type.Integer({ minimum: 0 }), { maxItems: 16 }),
  rateKbps: Type.Array(Type.Integer({ minimum: 0 }), { maxItems: 24 }),
  errors: Type.Integer({ minimum: 0 }),
});
export type PathQualityEntry = Static<typeof PathQualityEntrySchema>;

export const FleetSnapshotSchema = Type.Object({
  kind: Type.Literal('full'),
  version: Type.Integer({ minimum: 1 }),
  epoch: Type.Integer({ minimum: 1, description: 'catalogue epoch of every ordinal here' }),
  issuedAtMs: unixMs,
  prefixesVersion: Type.Integer({ minimum: 0 }),
  clusters: Type.Array(SnapshotClusterSchema),
  appliances: Type.Array(SnapshotApplianceSchema),
  holdings: Type.Array(SnapshotHoldingsSchema),
  titles: Type.Array(SnapshotTitleSchema),
  origin: Type.Object({ pathwayId: Type.Literal(ORIGIN_PATHWAY_ID), baseUrl }),
  externals: Type.Optional(Type.Array(ExternalCdnSchema, { maxItems: EXTERNALS_MAX })),
  paths: Type.Optional(Type.Array(PathQualityEntrySchema)),
  steeringNodes: Type.Optional(
    Type.Array(SteeringNodeSchema, {
      maxItems: STEERING_NODES_MAX,
      description: 'that are alive; absent: not known yet',
    }),
  ),
});
export type FleetSnapshot = Static<typeof FleetSnapshotSchema>;

/** What changed since `baseVersion`: upserts by key; holdings by ordinals added and removed. A gap means: reconnect, take the full one. */
export const FleetDeltaSchema = Type.Object({
  kind: Type.Literal('delta'),
  version: Type.Integer({ minimum: 2 }),
  baseVersion: Type.Integer({ minimum: 1 }),
  epoch: Type.Integer({ minimum: 1 }),
  issuedAtMs: unixMs,
  prefixesVersion: Type.Integer({ minimum: 0 }),
  clusters: Type.Optional(
    Type.Array(SnapshotClusterSchema, { description: 'all of them, when any changed' }),
  ),
  appliances: Type.Array(SnapshotApplianceSchema),
  appliancesRemoved: Type.Array(applianceId),
  holdings: Type.Array(
    Type.Object({
      applianceId,
      version: Type.Integer({ minimum: 0 }),
      added: Type.Array(Type.Integer({ minimum: 0 })),
      removed: Type.Array(Type.Integer({ minimum: 0 })),
    }),
  ),
  titles: Type.Array(SnapshotTitleSchema),
  titlesRemoved: Type.Array(titleId),
  externals: Type.Optional(Type.Array(ExternalCdnSchema, { maxItems: EXTERNALS_MAX })), // all, when any changed
  paths: Type.Optional(Type.Array(PathQualityEntrySchema)), // all, when folded anew
  steeringNodes: Type.Optional(Type.Array(SteeringNodeSchema, { maxItems: STEERING_NODES_MAX })), // all, when any changed
});
export type FleetDelta = Static<typeof FleetDeltaSchema>;

export const FleetMessageSchema = Type.Union([FleetSnapshotSchema, FleetDeltaSchema]);
const checkFleetMessage = checker(FleetMessageSchema);

/** `GET /v1/fleet/stream` (SSE): each event's data is a JWS (typ nf-snapshot+jws); the first is full. */
export async function openFleetMessage(
  text: string,
  keys: KeyRing,
): Promise<Outcome<FleetSnapshot | FleetDelta, string>> {
  const opened = await openCompact(text, keys.byUse.manifest, JWS_TYPE.snapshot);
  if (!opened.ok) return { ok: false, failure: `snapshot signature: ${opened.failure}` };
  const checked = checkFleetMessage(opened.value.payload);
  return checked.ok ? checked : { ok: false, failure: checked.failure.slice(0, 5).join('; ') };
}

/** Applies a delta to a snapshot: a new value, or 'gap' where the versions or epochs do not follow. */
export function applyDelta(base: FleetSnapshot, delta: FleetDelta): FleetSnapshot | 'gap' {
  if (delta.baseVersion !== base.version || delta.epoch !== base.epoch) return 'gap';
  const appliances = new Map(base.appliances.map((entry) => [entry.applianceId, entry]));
  for (const entry of delta.appliances) appliances.set(entry.applianceId, entry);
  const holdings = new Map(base.holdings.map((entry) => [entry.applianceId, entry]));
  for (const change of delta.holdings) {
    const ordinals = new Set(holdings.get(change.applianceId)?.ordinals);
    for (const ordinal of change.removed) ordinals.delete(ordinal);
    for (const ordinal of change.added) ordinals.add(ordinal);
    const { applianceId, version } = change;
    holdings.set(applianceId, { applianceId, version, ordinals: [...ordinals] });
  }
  for (const id of delta.appliancesRemoved) {
    appliances.delete(id);
    holdings.delete(id);
  }
  const titles = new Map(base.titles.map((entry) => [entry.titleId, entry]));
  for (const entry of delta.titles) titles.set(entry.titleId, entry);
  for (const id of delta.titlesRemoved) titles.delete(id);
  return {
    kind: 'full',
    version: delta.version,
    epoch: delta.epoch,
    issuedAtMs: delta.issuedAtMs,
    prefixesVersion: delta.prefixesVersion,
    clusters: delta.clusters ?? base.clusters,
    appliances: [...appliances.values()],
    holdings: [...holdings.values()],
    titles: [...titles.values()],
    origin: base.origin,
    ...optional('externals', delta.externals ?? base.externals),
    ...optional('paths', delta.paths ?? base.paths),
    ...optional('steeringNodes', delta.steeringNodes ?? base.steeringNodes),
  };
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}

// ---------------------------------------------------------------- service tokens

/** Who may call what: a bearer token per service, its SHA-256 in the callee's configuration. */
export const ServiceTokenSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 64 }),
    role: Type.Union([
      Type.Literal('publish'),
      Type.Literal('planner'),
      Type.Literal('steering'),
      Type.Literal('playback'),
      Type.Literal('operator'),
    ]),
    sha256: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      description: 'base64url SHA-256 of the token',
    }),
  },
  { additionalProperties: false },
);
export type ServiceToken = Static<typeof ServiceTokenSchema>;
export type ServiceRole = ServiceToken['role'];
