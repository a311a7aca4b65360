/**
 * Configuration of the origin and of the playback service.
 */
import { Type, type Static } from 'typebox';
import { isLoopback } from '#base/address.ts';
import { LOG_LEVELS } from '#base/log.ts';

const ListenSchema = Type.Object(
  {
    address: Type.String({ minLength: 1, maxLength: 64, description: 'IP address to bind' }),
    port: Type.Integer({ minimum: 0, maximum: 65535, description: '0: any free port' }),
  },
  { additionalProperties: false },
);

const serviceUrl = (description: string) =>
  Type.String({ pattern: '^https?://[^/?#\\s]+$', maxLength: 255, description });

const logLevel = Type.Union(
  LOG_LEVELS.map((level) => Type.Literal(level)),
  { default: 'info', description: 'least severe line that is written' },
);

export const OriginConfigSchema = Type.Object(
  {
    listen: Type.Object(ListenSchema.properties, {
      additionalProperties: false,
      description: 'content; any address, tokens and grants protect it',
    }),
    admin: Type.Object(ListenSchema.properties, {
      additionalProperties: false,
      description: 'status and metrics; loopback only, it asks no one who they are',
    }),
    stateDir: Type.String({
      minLength: 1,
      description: 'the origin directory that publish writes',
    }),
    controlPlaneUrl: serviceUrl('where the key set and signed listings come from'),
    rootFingerprint: Type.String({
      minLength: 43,
      maxLength: 43,
      description: 'RFC 7638 thumbprint of the root key: the only thing trusted from the start',
    }),
    connectionsMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 4096,
      description: 'connections beyond this are closed at once: a box takes the next source',
    }),
    verdictsMax: Type.Integer({
      minimum: 16,
      maximum: 1_000_000,
      default: 16_384,
      description: 'token and grant verdicts kept; a signature costs about 0.3 ms, a verdict 2 KiB',
    }),
    idleTimeoutMs: Type.Integer({
      minimum: 1000,
      maximum: 600_000,
      default: 30_000,
      description: 'milliseconds without a byte moving before a connection is closed',
    }),
    logLevel,
  },
  { additionalProperties: false },
);
export type OriginConfig = Static<typeof OriginConfigSchema>;

export function originRelations(config: OriginConfig): readonly string[] {
  if (isLoopback(config.admin.address)) return [];
  return [
    `/admin/address: ${config.admin.address} is not loopback, and this listener has no authentication: use 127.0.0.1 or ::1`,
  ];
}

export const PlaybackConfigSchema = Type.Object(
  {
    listen: Type.Object(ListenSchema.properties, {
      additionalProperties: false,
      description: 'manifests; loopback only unless openToAnybody',
    }),
    stateDir: Type.String({
      minLength: 1,
      description: 'listings seen last, for when the control plane is gone',
    }),
    publicUrl: serviceUrl('how players reach this service: written into every playlist'),
    controlPlaneUrl: serviceUrl('where listings come from'),
    steeringUrl: serviceUrl('asked for ranked URLs'),
    steeringToken: Type.String({
      minLength: 16,
      maxLength: 256,
      description: 'bearer token of role "playback"',
    }),
    openToAnybody: Type.Boolean({
      default: false,
      description:
        'this reference service asks no viewer who they are: say true to bind beyond loopback all the same',
    }),
    sessionsMax: Type.Integer({
      minimum: 16,
      maximum: 1_000_000,
      default: 20_000,
      description: 'sessions remembered; a forgotten one asks steering again',
    }),
    sessionTtlSeconds: Type.Integer({
      minimum: 60,
      maximum: 7 * 24 * 3600,
      default: 6 * 3600,
      description:
        'seconds; below the life of a viewer token, so that no playlist holds a dead one',
    }),
    indexesMax: Type.Integer({
      minimum: 16,
      maximum: 100_000,
      default: 2000,
      description: 'segment indexes of files kept in memory, about 50 KiB each for a long film',
    }),
    releasePolicy: Type.Union([Type.Literal('off'), Type.Literal('warn'), Type.Literal('block')], {
      default: 'warn',
      description:
        'a release that too few clusters hold: warn plays it and says so in the log, block does not play it, nor before its time',
    }),
    listingMaxAgeMs: Type.Integer({
      minimum: 0,
      maximum: 3_600_000,
      default: 5000,
      description: 'milliseconds for which a listing is used without asking the catalogue again',
    }),
    logLevel,
  },
  { additionalProperties: false },
);
export type PlaybackConfig = Static<typeof PlaybackConfigSchema>;

export function playbackRelations(config: PlaybackConfig): readonly string[] {
  if (isLoopback(config.listen.address) || config.openToAnybody) return [];
  return [
    `/listen/address: ${config.listen.address} is not loopback, and this service asks no viewer who they are: ` +
      'use a loopback address, or set openToAnybody to true if everybody may play everything',
  ];
}
