/**
 * What steering tells playback services and players: ranked, signed URLs and steering manifests; and what a viewer token says.
 *
 * A token's scope is the title: one token works on every box, so that a player may switch without a new signature.
 */
import { LRUCache } from 'lru-cache';
import { RE2JS } from 're2js';
import { Type, type Static } from 'typebox';
import { ReasonSchema, type Reason } from '#appliance/contract.ts';
import { checker } from '#base/config.ts';
import { openCompact, signCompact, type SigningKey } from '#base/jws.ts';
import type { Outcome } from '#base/outcome.ts';
import {
  APPLIANCE_ID_PATTERN,
  HOME_UNKNOWN,
  JWS_TYPE,
  NOT_BEFORE_SLACK_SECONDS,
  type ClusterId,
  type KeyRing,
} from '#control-plane/contract.ts';
import { FILE_ID_PATTERN, TITLE_ID_PATTERN, type TitleId } from '#upstream/contract.ts';

// ---------------------------------------------------------------- play

export const PLAY_FILES_MAX = 64; // files per request
export const URLS_PER_FILE_MAX = 4;

/** `POST /v1/play`, bearer token of role "playback". */
export const PlayRequestSchema = Type.Object(
  {
    titleId: Type.String({ pattern: TITLE_ID_PATTERN }),
    fileIds: Type.Optional(
      Type.Array(Type.String({ pattern: FILE_ID_PATTERN }), {
        minItems: 1,
        maxItems: PLAY_FILES_MAX,
        description: 'absent: all files of the title, up to the limit',
      }),
    ),
    clientAddress: Type.String({ maxLength: 45, description: 'the viewer’s address' }),
    country: Type.Optional(
      Type.String({ pattern: '^[A-Z]{2}$', description: 'wins over the prefix table' }),
    ),
    session: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }),
    playlistTemplate: Type.Optional(
      Type.String({
        maxLength: 512,
        description: 'holds {applianceId} and {fileId}: HLS clones are made from it',
      }),
    ),
  },
  { additionalProperties: false },
);
export type PlayRequest = Static<typeof PlayRequestSchema>;
export const checkPlayRequest = checker(PlayRequestSchema);

export const PlayUrlSchema = Type.Object({
  url: Type.String(),
  pathwayId: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
  kind: Type.Union([Type.Literal('appliance'), Type.Literal('origin'), Type.Literal('external')]),
});
export type PlayUrl = Static<typeof PlayUrlSchema>;

/** Ranked URLs, best first; the last is the origin until external CDNs exist. */
export const PlayAnswerSchema = Type.Object({
  titleId: Type.String(),
  ttlSeconds: Type.Integer({ minimum: 5, maximum: 3600 }),
  home: Type.String({ description: 'the client’s home cluster, or "unknown"' }),
  epochs: Type.Object({
    snapshot: Type.Integer(),
    prefixes: Type.Integer(),
    holdings: Type.Integer(),
    load: Type.Integer(),
  }),
  files: Type.Array(
    Type.Object({
      fileId: Type.String(),
      reason: ReasonSchema,
      urls: Type.Array(PlayUrlSchema, { minItems: 1, maxItems: URLS_PER_FILE_MAX }),
    }),
  ),
  steering: Type.Object({
    hls: Type.String({ description: 'SERVER-URI for EXT-X-CONTENT-STEERING, absolute' }),
    dash: Type.String({ description: 'for ContentSteering, absolute' }),
  }),
});
export type PlayAnswer = Static<typeof PlayAnswerSchema>;
export const checkPlayAnswer = checker(PlayAnswerSchema);

/** `POST /v1/play/batch`: answers in the order of the requests, each with its own status. */
export const PLAY_BATCH_MAX = 64;
export const PlayBatchSchema = Type.Object(
  { requests: Type.Array(PlayRequestSchema, { minItems: 1, maxItems: PLAY_BATCH_MAX }) },
  { additionalProperties: false },
);
export type PlayBatch = Static<typeof PlayBatchSchema>;
export const checkPlayBatch = checker(PlayBatchSchema);

/** What a refused request gets: what is refused, why, and everything that is wrong with it. */
export const RefusalSchema = Type.Object({
  error: Type.String({ description: 'a stable word' }),
  message: Type.String(),
  problems: Type.Array(Type.String()),
});

/**
 * `POST /v1/reports`, from players: a box could not be played from. `session` is the last part of the session's steering URL,
 * `token` that of the URL which failed. 204; it can start a probe and demote, never eject.
 */
export const PlayerReportSchema = Type.Object(
  {
    session: Type.String({ maxLength: 2048 }),
    token: Type.String({ maxLength: 2048 }),
    pathwayId: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
    what: Type.Union([Type.Literal('unreachable'), Type.Literal('slow'), Type.Literal('error')]),
  },
  { additionalProperties: false },
);
export type PlayerReportMessage = Static<typeof PlayerReportSchema>;
export const checkPlayerReport = checker(PlayerReportSchema);

/** `POST /v1/explain`, bearer token of role "operator": what a play request would get now, and why. */
export const ExplainRequestSchema = Type.Object(
  {
    titleId: Type.Optional(PlayRequestSchema.properties.titleId),
    fileId: Type.Optional(
      Type.String({ pattern: FILE_ID_PATTERN, description: 'without a title: any that has it' }),
    ),
    clientAddress: PlayRequestSchema.properties.clientAddress,
    country: PlayRequestSchema.properties.country,
    session: Type.Optional(PlayRequestSchema.properties.session),
  },
  { additionalProperties: false },
);
export type ExplainRequest = Static<typeof ExplainRequestSchema>;
export const checkExplainRequest = checker(ExplainRequestSchema);

// ---------------------------------------------------------------- content steering

export const STEERING_CONTENT_TYPE = 'application/vnd.apple.steering-list';

/**
 * As many pathways as a playlist is expected to show: three boxes (or an external CDN among them) and the origin. Steering counts
 * what a session has by the same number: a box beyond it is offered as a clone, which players know the address of.
 */
export const PATHWAYS_MAX = 4;

/** HLS and DASH steering manifest: always 200, VERSION 1, integer TTL >= 5, at least two pathways. */
export const SteeringManifestSchema = Type.Object({
  VERSION: Type.Literal(1),
  TTL: Type.Integer({ minimum: 5, maximum: 3600 }),
  'RELOAD-URI': Type.Optional(Type.String()),
  'PATHWAY-PRIORITY': Type.Array(Type.String({ pattern: APPLIANCE_ID_PATTERN }), {
    minItems: 2,
    uniqueItems: true,
  }),
  'PATHWAY-CLONES': Type.Optional(
    Type.Array(
      Type.Object({
        'BASE-ID': Type.String({ pattern: APPLIANCE_ID_PATTERN }),
        ID: Type.String({ pattern: APPLIANCE_ID_PATTERN, description: 'the appliance' }),
        'URI-REPLACEMENT': Type.Object({
          HOST: Type.Optional(Type.String({ description: 'DASH only' })),
          'PER-VARIANT-URIS': Type.Optional(Type.Record(Type.String(), Type.String())),
          'PER-RENDITION-URIS': Type.Optional(Type.Record(Type.String(), Type.String())),
        }),
      }),
      { maxItems: 4 },
    ),
  ),
});
export type SteeringManifest = Static<typeof SteeringManifestSchema>;
export const checkSteeringManifest = checker(SteeringManifestSchema);

// ---------------------------------------------------------------- viewer tokens

export const VIEWER_ISSUER = 'steering';
export const VIEWER_AUDIENCE = 'oca';
export const VIEWER_TOKEN_SLACK_SECONDS = 6 * 3600; // life = duration + 6 h
export const VIEWER_TOKEN_BYTES_MAX = 2048;
const URI_CONTAINER_BYTES_MAX = 512;

/** Claims as issued (RFC 9246 plus the private claims `home` and `reason`). */
export const ViewerClaimsSchema = Type.Object({
  iss: Type.String(),
  aud: Type.Union([Type.String(), Type.Array(Type.String())]),
  exp: Type.Integer(),
  nbf: Type.Optional(Type.Integer()),
  cdniv: Type.Optional(Type.Integer()),
  cdniuc: Type.String(),
  cdnicrit: Type.Optional(Type.String()),
  jti: Type.Optional(Type.String()),
  sub: Type.Optional(Type.String()),
  cdniip: Type.Optional(Type.String()),
  home: Type.Optional(Type.String({ maxLength: 32 })),
  reason: Type.Optional(ReasonSchema),
});
const checkViewerClaims = checker(ViewerClaimsSchema);

/** What serving keeps of a verified token. `scope` decides whether a URI is covered, in linear time. */
export interface ViewerToken {
  readonly home: ClusterId; // or HOME_UNKNOWN
  readonly reason: Reason;
  readonly expiresAtSeconds: number;
  readonly notBeforeSeconds: number;
  readonly keyId: string; // who signed: a denial may name either
  readonly issuer: string;
  covers(uri: string): boolean; // scheme://host[:port]/t/<titleId>/<fileId>, the token segment removed
}

/** Stable words for log, metric and answer; `s-uri-signing` codes of RFC 9246 4.4 beside them. */
export type TokenRefusal =
  | 'token-missing'
  | 'token-malformed'
  | 'token-algorithm'
  | 'token-key-unknown'
  | 'token-signature'
  | 'token-issuer'
  | 'token-audience'
  | 'token-expired'
  | 'token-not-yet'
  | 'token-version'
  | 'token-critical-claim'
  | 'token-claim-unsupported'
  | 'token-uri';

/** Signs one token for a title: valid on every box, for the title's duration + 6 h. */
export function signViewerToken(
  key: SigningKey,
  scope: {
    readonly titleId: TitleId;
    readonly durationSeconds: number;
    readonly home: string;
    readonly reason: Reason;
  },
  nowSeconds: number,
): Promise<string> {
  return signCompact(key, JWS_TYPE.viewer, {
    iss: VIEWER_ISSUER,
    aud: VIEWER_AUDIENCE,
    cdniv: 1,
    nbf: nowSeconds - NOT_BEFORE_SLACK_SECONDS,
    exp: nowSeconds + Math.ceil(scope.durationSeconds) + VIEWER_TOKEN_SLACK_SECONDS,
    cdniuc: `regex:https?://[^/]+/t/${scope.titleId}/[A-Za-z0-9_-]{43}(\\?.*)?`,
    home: scope.home,
    reason: scope.reason,
  });
}

/**
 * Verifies a viewer token once, off the serving path. Time is checked again per request (`expiresAtSeconds`).
 *
 * Errors: a TokenRefusal; the HTTP answer is 403 for each of them
 * Source: RFC 9246 2.1.1-2.1.15, 3; RFC 8725
 */
export async function verifyViewerToken(
  text: string,
  keys: KeyRing,
  nowSeconds: number,
): Promise<Outcome<ViewerToken, TokenRefusal>> {
  if (text.length > VIEWER_TOKEN_BYTES_MAX) return refuse('token-malformed');
  const opened = await openCompact(text, keys.byUse.token, JWS_TYPE.viewer);
  if (!opened.ok) {
    return refuse(
      opened.failure === 'algorithm'
        ? 'token-algorithm'
        : opened.failure === 'key-unknown'
          ? 'token-key-unknown'
          : opened.failure === 'signature'
            ? 'token-signature'
            : 'token-malformed',
    );
  }
  const checked = checkViewerClaims(opened.value.payload);
  if (!checked.ok) return refuse('token-malformed');
  const claims = checked.value;
  if (claims.iss !== keys.issuerOf.get(opened.value.kid)) return refuse('token-issuer');
  const audiences = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  if (!audiences.includes(VIEWER_AUDIENCE)) return refuse('token-audience');
  if (claims.cdniv !== undefined && claims.cdniv !== 1) return refuse('token-version');
  if (claims.cdnicrit !== undefined) return refuse('token-critical-claim');
  // No replay store and no JWE key on a box: RFC 9246 asks to reject what cannot be checked.
  if (claims.jti !== undefined || claims.sub !== undefined || claims.cdniip !== undefined) {
    return refuse('token-claim-unsupported');
  }
  if (claims.exp <= nowSeconds) return refuse('token-expired');
  if (claims.nbf !== undefined && claims.nbf > nowSeconds) return refuse('token-not-yet');
  const covers = compileUriContainer(claims.cdniuc);
  if (covers === null) return refuse('token-uri');
  return {
    ok: true,
    value: {
      home: claims.home ?? HOME_UNKNOWN,
      reason: claims.reason ?? 'other',
      expiresAtSeconds: claims.exp,
      notBeforeSeconds: claims.nbf ?? 0,
      keyId: opened.value.kid,
      issuer: claims.iss,
      covers,
    },
  };
}

function refuse(refusal: TokenRefusal): { ok: false; failure: TokenRefusal } {
  return { ok: false, failure: refusal };
}

/** Tokens of one title carry one container, and compiling it takes longer than its token's signature check. */
const containers = new LRUCache<string, RE2JS>({ max: 2048 });

/** `regex:` only, anchored at both ends, matched by an RE2 engine: linear time whatever the issuer wrote. */
function compileUriContainer(container: string): ((uri: string) => boolean) | null {
  if (!container.startsWith('regex:') || container.length > URI_CONTAINER_BYTES_MAX) return null;
  try {
    let pattern = containers.get(container);
    if (pattern === undefined) {
      pattern = RE2JS.compile(`^(?:${container.slice('regex:'.length)})$`);
      containers.set(container, pattern);
    }
    const compiled = pattern;
    return (uri) => compiled.matches(uri);
  } catch {
    return null;
  }
}
