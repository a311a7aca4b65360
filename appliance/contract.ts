/**
 * What an appliance tells everybody else: its heartbeat, its holdings, its view records, its status page.
 *
 * All frames of the heartbeat connection are JSON text on one WebSocket (`GET /v1/heartbeat`, bearer access token);
 * binary frames are kept for BMP.
 */
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import { APPLIANCE_ID_PATTERN } from '#control-plane/contract.ts';
import { FILE_ID_PATTERN } from '#upstream/contract.ts';

export const HEARTBEAT_PERIOD_MS = 1000;
export const HEARTBEAT_FRAME_BYTES_MAX = 64 * 1024;
export const HOLDINGS_FRAME_BYTES_MAX = 64 * 1024 * 1024; // 400,000 ids of 43 characters are 18 MiB
export const VIEW_RECORDS_PER_POST_MAX = 10_000;
export const QUARTER_SECONDS = 900;

const fileId = Type.String({ pattern: FILE_ID_PATTERN });
const count = Type.Integer({ minimum: 0 });

/** Why a client came to this box instead of a home box. Steering writes it into the token. */
export const REASONS = ['home', 'content', 'health', 'other'] as const;
export type Reason = (typeof REASONS)[number];
export const ReasonSchema = Type.Union([
  Type.Literal('home'),
  Type.Literal('content'),
  Type.Literal('health'),
  Type.Literal('other'),
]);

export const FillKindSchema = Type.Union([
  Type.Literal('peer'),
  Type.Literal('tier'),
  Type.Literal('origin'),
]);

const bytesByKind = Type.Object({ peer: count, tier: count, origin: count });

/** Where a fill that goes on as it does leads: share of the planned demand on whole files after so many days. Absent: nothing to tell by. */
export const FillCurveSchema = Type.Object({
  day1: Type.Number({ minimum: 0, maximum: 1 }),
  day3: Type.Number({ minimum: 0, maximum: 1 }),
  day7: Type.Number({ minimum: 0, maximum: 1 }),
  fullAfterDays: Type.Number({ minimum: 0 }),
});
export type FillCurve = Static<typeof FillCurveSchema>;

export const HeartbeatSchema = Type.Object(
  {
    type: Type.Literal('heartbeat'),
    sequence: count,
    sentAtMs: Type.Integer({ minimum: 0, description: 'trusted time of the box' }),
    bootId: Type.String({
      maxLength: 64,
      description: 'new with each start: counters restart with it',
    }),
    health: Type.Object({
      status: Type.Union([Type.Literal('healthy'), Type.Literal('degraded'), Type.Literal('down')]),
      reasons: Type.Array(Type.String({ maxLength: 200 }), { maxItems: 16 }),
    }),
    state: Type.Union([
      Type.Literal('starting'),
      Type.Literal('filling'),
      Type.Literal('serving'),
      Type.Literal('draining'),
    ]),
    load: Type.Object({
      egressBps: Type.Number({ minimum: 0 }),
      servingBps: Type.Number({ minimum: 0, description: 'what it could serve' }),
      connections: count,
      requestsPerSecond: Type.Number({ minimum: 0 }),
    }),
    storage: Type.Object({
      capacityBytes: count,
      usedBytes: count,
      pinnedBytes: count,
      reactiveBytes: count,
    }),
    fill: Type.Object({
      manifestVersion: Type.Integer({ minimum: 0, description: '0: none yet' }),
      filesWanted: count,
      filesHeld: count,
      bytesWanted: count,
      bytesHeld: count,
      active: count,
      rateBps: Type.Number({ minimum: 0 }),
      waitingFor: Type.Union([
        Type.Null(),
        Type.Literal('window'),
        Type.Literal('manifest'),
        Type.Literal('source'),
        Type.Literal('space'),
        Type.Literal('turn', { description: 'another box of the fleet fetches it first' }),
        Type.Literal('pause', { description: 'its operator paused the fill' }),
        Type.Literal('budget', { description: 'its operator’s caps leave nothing now' }),
        Type.Literal('load', { description: 'viewers need all of it' }),
      ]),
      problem: Type.Union([Type.Null(), Type.String({ maxLength: 300 })]),
      bpsByKind: Type.Optional(
        Type.Object({
          peer: Type.Number({ minimum: 0 }),
          tier: Type.Number({ minimum: 0 }),
          origin: Type.Number({ minimum: 0 }),
        }),
      ),
      hourlyBps: Type.Optional(
        Type.Array(Type.Union([Type.Number({ minimum: 0 }), Type.Null()]), {
          minItems: 24,
          maxItems: 24,
          description:
            'what the operator lets the fill take of the link in each hour of the site’s day; absent: no caps',
        }),
      ),
      curve: Type.Optional(FillCurveSchema),
      leftOut: Type.Optional(
        Type.Array(Type.String({ maxLength: 64 }), {
          maxItems: 16,
          description: 'sources that this box does not ask at present: bad bytes, or failing',
        }),
      ),
    }),
    /** Since `bootId`. */
    counters: Type.Object({
      viewerBytes: count,
      viewerRequests: count,
      viewerBytesByReason: Type.Object({
        home: count,
        content: count,
        health: count,
        other: count,
      }),
      viewerBytesUnknownHome: count,
      missBytes: bytesByKind, // fetched on demand, by where from
      fillBytes: bytesByKind, // fetched by the manifest
      peerBytesServed: count, // given to other boxes under their grants
      chunksCorrupt: count, // dropped because their hash did not match
      refused: Type.Record(Type.String({ maxLength: 40 }), count),
    }),
    holdings: Type.Object({
      version: count,
      digest: Type.String({ pattern: '^[0-9a-f]{32}$' }),
      files: count,
    }),
    versions: Type.Object({ manifest: count, keys: count, denials: count }),
  },
  { additionalProperties: false },
);
export type Heartbeat = Static<typeof HeartbeatSchema>;

/** Whole files only. A box that holds a file partly does not hold it. */
export const HoldingsDeltaSchema = Type.Object(
  {
    type: Type.Literal('holdings-delta'),
    fromVersion: count,
    toVersion: count,
    added: Type.Array(fileId, { maxItems: 1000 }),
    removed: Type.Array(fileId, { maxItems: 1000 }),
  },
  { additionalProperties: false },
);
export type HoldingsDelta = Static<typeof HoldingsDeltaSchema>;

export const HoldingsFullSchema = Type.Object(
  {
    type: Type.Literal('holdings-full'),
    version: count,
    files: Type.Array(fileId, { maxItems: 1_000_000 }),
  },
  { additionalProperties: false },
);
export type HoldingsFull = Static<typeof HoldingsFullSchema>;

/** This version of the deny list is in force here: sent once, when nothing it names is served any more. */
export const DenialsAckSchema = Type.Object(
  { type: Type.Literal('denials-ack'), version: count, appliedAtMs: count },
  { additionalProperties: false },
);
export type DenialsAck = Static<typeof DenialsAckSchema>;

/** What was deleted, signed by the box's own key (JWS typ nf-denial-proof+jws of DenialProof): proof for whoever asked for it. */
export const DENIAL_PROOF_BYTES_MAX = 64 * 1024;
export const DenialsProofSchema = Type.Object(
  {
    type: Type.Literal('denials-proof'),
    proof: Type.String({ maxLength: DENIAL_PROOF_BYTES_MAX }),
  },
  { additionalProperties: false },
);
export type DenialsProof = Static<typeof DenialsProofSchema>;

export const DENIAL_DELETIONS_PER_PROOF_MAX = 200;
export const DenialProofSchema = Type.Object(
  {
    applianceId: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
    version: count,
    documentSha256: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      description: 'of the signed document, as its text',
    }),
    appliedAtMs: count,
    deletions: Type.Array(
      Type.Object(
        {
          id: Type.Integer({ minimum: 1, description: 'of the denial' }),
          atMs: count,
          files: Type.Integer({ minimum: 0, description: '0: none of it was held' }),
          bytes: count,
        },
        { additionalProperties: false },
      ),
      { maxItems: DENIAL_DELETIONS_PER_PROOF_MAX },
    ),
  },
  { additionalProperties: false },
);
export type DenialProof = Static<typeof DenialProofSchema>;
export const checkDenialProof = checker(DenialProofSchema);

export const ApplianceFrameSchema = Type.Union([
  HeartbeatSchema,
  HoldingsDeltaSchema,
  HoldingsFullSchema,
  DenialsAckSchema,
  DenialsProofSchema,
]);
export type ApplianceFrame = Static<typeof ApplianceFrameSchema>;
export const checkApplianceFrame = checker(ApplianceFrameSchema);

// ---------------------------------------------------------------- view records

/**
 * What was watched: per (file, quarter hour, home cluster, reason). No client address.
 * `quarter` is Unix seconds, a multiple of 900. `starts` counts requests that include byte 0.
 */
export const ViewRecordSchema = Type.Object(
  {
    fileId,
    quarter: Type.Integer({ minimum: 0, multipleOf: QUARTER_SECONDS }),
    home: Type.String({ maxLength: 32, description: 'cluster, or "unknown"' }),
    reason: ReasonSchema,
    bytes: count,
    starts: count,
  },
  { additionalProperties: false },
);
export type ViewRecord = Static<typeof ViewRecordSchema>;

/**
 * `POST /v1/view-records`: numbered batches of one spool. The answer is {acknowledged}: the highest sequence taken in;
 * a batch sent twice is taken in once; after a gap the answer repeats the last one and the box sends from there.
 */
export const ViewRecordBatchSchema = Type.Object(
  {
    spoolId: Type.String({
      minLength: 1,
      maxLength: 64,
      description: 'new when the spool was lost',
    }),
    sequence: Type.Integer({ minimum: 1 }),
    records: Type.Array(ViewRecordSchema, { maxItems: VIEW_RECORDS_PER_POST_MAX }),
  },
  { additionalProperties: false },
);
export type ViewRecordBatch = Static<typeof ViewRecordBatchSchema>;

export const ViewRecordAnswerSchema = Type.Object({ acknowledged: count });
export const checkViewRecordAnswer = checker(ViewRecordAnswerSchema);

// ---------------------------------------------------------------- path quality

/**
 * `POST /v1/path-quality`: a minute that is over, per client aggregate (/24 or /48), sent once. Histogram buckets are
 * powers of two: milliseconds and kbit/s; empty ones at the end are left out.
 */
export const PathQualitySchema = Type.Object({
  minute: Type.Integer({ minimum: 0, description: 'its beginning, Unix seconds' }),
  aggregates: Type.Array(
    Type.Object({
      prefix: Type.String({ maxLength: 64 }),
      firstByteMs: Type.Array(count, { maxItems: 16 }),
      rateKbps: Type.Array(count, { maxItems: 24 }),
      errors: count,
    }),
    { maxItems: 10_000 },
  ),
});
export type PathQuality = Static<typeof PathQualitySchema>;

// ---------------------------------------------------------------- admin status

/** `GET /status` on the box's admin listener (loopback). */
export const ApplianceStatusSchema = Type.Object({
  applianceId: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
  heartbeat: Type.Union([HeartbeatSchema, Type.Null()]),
  connectedToControlPlane: Type.Boolean(),
  atMs: count,
});
export type ApplianceStatus = Static<typeof ApplianceStatusSchema>;

// ---------------------------------------------------------------- routes

export const ROUTES_PER_POST_MAX = 5000;
export const PEERS_PER_POST_MAX = 256;

const peerName = Type.String({ minLength: 1, maxLength: 96, description: '"AS64500 192.0.2.1"' });
const prefixText = Type.String({ maxLength: 49, description: 'canonical: address/length' });

/** One route as a router of the site announced it to this box. */
export const RouteSchema = Type.Object(
  {
    peer: peerName,
    prefix: prefixText,
    originAs: Type.Integer({ minimum: 0, maximum: 0xffffffff, description: '0: nobody can say' }),
    asPathLength: Type.Integer({ minimum: 0, maximum: 255 }),
    origin: Type.Integer({ minimum: 0, maximum: 2, description: 'IGP, EGP, incomplete' }),
    med: Type.Integer({ minimum: 0, maximum: 0xffffffff }),
  },
  { additionalProperties: false },
);
export type Route = Static<typeof RouteSchema>;

export const RouteKeySchema = Type.Object(
  { peer: peerName, prefix: prefixText },
  { additionalProperties: false },
);
export type RouteKey = Static<typeof RouteKeySchema>;

/**
 * `POST /v1/routes`: what changed in the box's route table from one version to the next; or, with `reset`, the table
 * whole, in parts: the first part has `reset: "first"`, the others `"more"`, and it is in force with the part that is
 * `complete`. Without a change it is sent every ROUTES_PERIOD_MS all the same: that is how a lost table is noticed.
 */
export const ROUTES_PERIOD_MS = 5000;
export const RouteBatchSchema = Type.Object(
  {
    tableId: Type.String({ minLength: 8, maxLength: 64, description: 'new with each start' }),
    fromVersion: count,
    toVersion: count,
    reset: Type.Optional(Type.Union([Type.Literal('first'), Type.Literal('more')])),
    complete: Type.Boolean(),
    monitored: Type.Boolean({ description: 'a router’s monitoring session is up' }),
    peers: Type.Array(
      Type.Object(
        { peer: peerName, as: count, up: Type.Boolean(), routes: count, stale: count },
        { additionalProperties: false },
      ),
      { maxItems: PEERS_PER_POST_MAX },
    ),
    dropped: Type.Integer({ minimum: 0, description: 'announcements beyond the box’s limit' }),
    announced: Type.Array(RouteSchema, { maxItems: ROUTES_PER_POST_MAX }),
    withdrawn: Type.Array(RouteKeySchema, { maxItems: ROUTES_PER_POST_MAX }),
  },
  { additionalProperties: false },
);
export type RouteBatch = Static<typeof RouteBatchSchema>;

/** `resync`: the table is not known up to `fromVersion`; send it whole. */
export const RouteAnswerSchema = Type.Object({ version: count, resync: Type.Boolean() });
export const checkRouteAnswer = checker(RouteAnswerSchema);

// ---------------------------------------------------------------- fill status

const bps = Type.Number({ minimum: 0 });
const limit = Type.Object({
  bps: Type.Union([bps, Type.Null()], { description: 'null: no limit' }),
  why: Type.Union([Type.Null(), Type.String()]),
  limitedBy: Type.Union([Type.Null(), Type.String()]),
});

/** `POST /fill` on the box's admin listener (`?pause=1`, `?pause=0`): how far the fill is, and on whose terms. */
export const FillStatusSchema = Type.Object({
  ...HeartbeatSchema.properties.fill.properties,
  rateBps: Type.Optional(bps),
  etaMs: Type.Union([count, Type.Null()], { description: 'at the present rate; null: none' }),
  turnUp: Type.Union([Type.Literal('filling'), Type.Literal('serving')]),
  demandShare: Type.Number({ minimum: 0, description: 'of the planned demand that is held' }),
  byKind: Type.Array(Type.Object({ kind: FillKindSchema, bytes: count, bps })),
  window: Type.Object({
    open: Type.Boolean(),
    closesAtMs: Type.Union([count, Type.Null()]),
    opensAtMs: Type.Union([count, Type.Null()]),
  }),
  isAlone: Type.Boolean({ description: 'nobody ranks sources: the control plane is gone' }),
  budget: Type.Object({
    isPaused: Type.Boolean(),
    pausedSinceMs: Type.Union([count, Type.Null()]),
    limits: Type.Object({ near: limit, far: limit }),
    yieldShare: Type.Number({ minimum: 0, maximum: 1 }),
    month: Type.Union([
      Type.Null(),
      Type.Object({
        startMs: count,
        endMs: count,
        billedBps: bps,
        bpsMax: bps,
        burstsUsed: count,
        burstsForgiven: count,
      }),
    ]),
    hourlyBps: Type.Array(Type.Union([bps, Type.Null()])),
  }),
  leftOut: Type.Array(
    Type.Object({
      id: Type.String(),
      baseUrl: Type.String(),
      why: Type.Union([Type.Literal('bad-bytes'), Type.Literal('failing')]),
      forMs: count,
      corruptChunks: count,
    }),
  ),
});
export type FillStatus = Static<typeof FillStatusSchema>;
