/**
 * Configuration of `nightfill appliance`: one JSON file.
 */
import path from 'node:path';
import { Type, type Static } from 'typebox';
import { isLoopback } from '#base/address.ts';
import { LOG_LEVELS } from '#base/log.ts';
import { GIB, KIB, MIB } from '#base/units.ts';
import type { FillBudget } from './fill/budget.ts';
import { APPLIANCE_ID_PATTERN } from '#control-plane/contract.ts';
import { isTimeZone } from '#control-plane/control-plane.ts';

const closed = { additionalProperties: false };

const listen = Type.Object(
  {
    address: Type.String({ description: 'an IP address of this machine, v4 or v6' }),
    port: Type.Integer({ minimum: 0, maximum: 65535, description: '0 takes a free one' }),
  },
  closed,
);

const onMissOfClass = Type.Optional(Type.Union([Type.Literal('fetch'), Type.Literal('refuse')]));

export const ApplianceConfigSchema = Type.Object(
  {
    applianceId: Type.String({
      pattern: APPLIANCE_ID_PATTERN,
      description: 'the identity that the enrolment token names; also its pathway id for players',
    }),
    listen: Type.Object(
      { ...listen.properties },
      { ...closed, description: 'content; tokens protect it, so that it may be any address' },
    ),
    publicBaseUrl: Type.String({
      pattern: '^https?://[^/?#\\s]+$',
      maxLength: 255,
      description: 'scheme://host[:port] where viewers and peers reach `listen`',
    }),
    admin: Type.Object(
      {
        ...listen.properties,
        tokenFile: Type.Optional(
          Type.String({
            minLength: 1,
            description:
              'whoever can read it may drain, scrub, adopt; made at the first start. Absent: admin.token in stateDir',
          }),
        ),
      },
      { ...closed, description: 'status, metrics, drain: loopback only' },
    ),
    stateDir: Type.String({
      minLength: 1,
      description: 'identity, last good documents, view-record spool',
    }),
    volumes: Type.Array(
      Type.Object(
        {
          path: Type.String({ minLength: 1, description: 'a directory, best a disk of its own' }),
          capacityBytes: Type.Integer({
            minimum: 16 * MIB,
            description: 'bytes that content may take there; leave 2 % of the disk free',
          }),
          speed: Type.Optional(
            Type.Union([Type.Literal('fast'), Type.Literal('slow')], {
              description: 'hot files go to fast volumes first; absent: fast',
            }),
          ),
        },
        closed,
      ),
      { minItems: 1, maxItems: 64 },
    ),
    enrolmentTokenFile: Type.String({
      minLength: 1,
      description: 'read at the first start only; may be deleted afterwards',
    }),
    applianceClass: Type.Union([Type.Literal('flash'), Type.Literal('storage')]),
    servingBps: Type.Integer({
      minimum: 1_000_000,
      description: 'bits per second that it can serve, measured or the NIC’s rate',
    }),
    reactiveShare: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.05,
      description:
        'share of the capacity that the manifest cannot claim: room for what is pulled through',
    }),
    fill: Type.Object(
      {
        concurrency: Type.Integer({
          minimum: 1,
          maximum: 64,
          default: 4,
          description:
            'files fetched at once from its site; half as many from other sites and from the origin each: enough to hide a round trip, few enough to finish files',
        }),
        rateBpsMax: Type.Union([Type.Integer({ minimum: 100_000 }), Type.Null()], {
          default: null,
          description: 'bits per second for the manifest’s files; null: no limit',
        }),
        peerShare: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 0.5,
          description: 'share of servingBps that other boxes may take under their grants',
        }),
        budget: Type.Object(
          {
            timeZone: Type.String({
              default: 'UTC',
              description: 'IANA name: whose clocks the hours and the billing month go by',
            }),
            hourlyBpsMax: Type.Array(Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]), {
              default: [],
              maxItems: 24,
              description:
                '24 caps in bits per second, from 00:00 on, for what comes from beyond the site; 0: nothing in that hour, null: no cap; empty: none at all',
            }),
            percentile95BpsMax: Type.Union([Type.Integer({ minimum: 100_000 }), Type.Null()], {
              default: null,
              description:
                'bits per second that the link may be charged for: 95th percentile of 5-minute averages over a billing month; null: no ceiling',
            }),
            billingDay: Type.Integer({
              minimum: 1,
              maximum: 28,
              default: 1,
              description: 'day of the month on which a billing month begins',
            }),
            burst: Type.Boolean({
              default: false,
              description:
                'use the twentieth of the samples that is not charged; false: no sample is above the ceiling',
            }),
            outsideWindow: Type.Union(
              [Type.Literal('never'), Type.Literal('site'), Type.Literal('all')],
              {
                default: 'never',
                description:
                  'while this box is being turned up: fetch outside the window too, from boxes of its site or from everywhere',
              },
            ),
          },
          { ...closed, default: {}, description: 'what the fill may take of the link' },
        ),
        turnUpShare: Type.Number({
          exclusiveMinimum: 0,
          maximum: 1,
          default: 0.9,
          description: 'share of its planned demand that a box must hold to be called turned up',
        }),
      },
      { ...closed, default: {} },
    ),
    miss: Type.Object(
      {
        onMiss: Type.Union([Type.Literal('fetch'), Type.Literal('refuse')], {
          default: 'fetch',
          description: 'refuse: a viewer whose file is not here gets 404 and goes to the next box',
        }),
        onMissByClass: Type.Object(
          { release: onMissOfClass, catalogue: onMissOfClass, children: onMissOfClass },
          {
            ...closed,
            default: {},
            description:
              'for titles of that class, by their signed listing, instead of onMiss; what the manifest wants is always fetched',
          },
        ),
        firstByteMsMax: Type.Integer({
          minimum: 100,
          maximum: 60_000,
          default: 5000,
          description:
            'a viewer leaves a 404 at once and a silent box late: better to say no in time',
        }),
        retryShare: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 0.2,
          description:
            'share of viewers’ fetches that may be tried again at another source: when all fail at once, twice the load helps nobody',
        }),
        flightsMax: Type.Integer({
          minimum: 1,
          maximum: 10_000,
          default: 512,
          description: 'chunks fetched on demand at once, 1 MiB of memory each',
        }),
      },
      { ...closed, default: {} },
    ),
    integrity: Type.Object(
      {
        scrubBytesPerSecond: Type.Integer({
          minimum: 0,
          default: 8 * MIB,
          description: 'read back and compared, all the time; 240 TB in a year. 0 switches it off',
        }),
        sampleOneIn: Type.Integer({
          minimum: 1,
          default: 256,
          description: 'one in so many viewers’ answers has its first chunk read back',
        }),
      },
      { ...closed, default: {} },
    ),
    bmp: Type.Optional(
      Type.Object(
        {
          listen: Type.Object(
            { ...listen.properties },
            { ...closed, description: 'loopback only: BMP has no authentication' },
          ),
          rib: Type.Union([Type.Literal('pre-policy'), Type.Literal('post-policy')], {
            default: 'pre-policy',
            description: 'which of the two tables that a router may tell is read',
          }),
          routesMax: Type.Integer({
            minimum: 1,
            maximum: 2_000_000,
            default: 200_000,
            description:
              'routes kept, of all peers; an ISP has some thousand, the whole Internet is a mistake',
          }),
          staleSeconds: Type.Integer({
            minimum: 30,
            maximum: 1200,
            default: 1200,
            description:
              'how long routes outlive their session; the clients behind them have not moved when a session flaps',
          }),
        },
        {
          ...closed,
          description:
            'which prefixes this box serves, from the site’s routers (RFC 7854); absent: none',
        },
      ),
    ),
    tls: Type.Optional(
      Type.Object(
        {
          listen: Type.Object({ ...listen.properties }, closed),
          certificateFile: Type.String({
            minLength: 1,
            description: 'PEM: the box’s certificate, then its chain',
          }),
          keyFile: Type.String({ minLength: 1, description: 'PEM, unencrypted, mode 0600' }),
        },
        {
          ...closed,
          description:
            'a second content listener that speaks TLS 1.3 and 1.2; both files are read again when they change, and on SIGHUP. Absent: none',
        },
      ),
    ),
    undrainRampMs: Type.Integer({
      minimum: 0,
      maximum: 3_600_000,
      default: 60_000,
      description:
        'after a drain the share of new sessions that is let in rises from a tenth to all over this long: caches are cold and steering counts on what the heartbeat says; 0: all at once',
    }),
    sender: Type.Union(
      [Type.Literal('auto'), Type.Literal('portable'), Type.Literal('zero-copy')],
      { default: 'auto', description: 'auto: the fastest one that works on this machine' },
    ),
    listeners: Type.Union([Type.Integer({ minimum: 1, maximum: 64 }), Type.Literal('auto')], {
      default: 1,
      description:
        'serving threads with a listener each, for the plain listener with the zero-copy sender; auto: as many as the machine has cores. 1: no further thread, the cheapest for a small box',
    }),
    hotCacheBytes: Type.Integer({
      minimum: 0,
      maximum: 1024 * GIB,
      default: 64 * MIB,
      description: 'chunks kept in memory by the portable sender; 0 switches it off',
    }),
    limits: Type.Object(
      {
        headerBytesMax: Type.Integer({
          minimum: 4 * KIB,
          maximum: 64 * KIB,
          default: 16 * KIB,
          description: 'a token of 2 KiB, a CMCD query and a browser’s fields are under 8 KiB',
        }),
        headersTimeoutMs: Type.Integer({ minimum: 100, maximum: 120_000, default: 10_000 }),
        keepAliveTimeoutMs: Type.Integer({
          minimum: 100,
          maximum: 600_000,
          default: 75_000,
          description: 'longer than a player waits between segments',
        }),
        connectionsMax: Type.Integer({
          minimum: 1,
          maximum: 1_000_000,
          default: 20_000,
          description: 'above it new connections are closed at once; each costs up to 256 KiB',
        }),
        pipelinedMax: Type.Integer({ minimum: 1, maximum: 1024, default: 16 }),
        deliveryBytesPerSecondMin: Type.Integer({
          minimum: 1,
          default: 8 * KIB,
          description: 'below the lowest audio bitrate: a slower client is not playing',
        }),
        deliveryGraceMs: Type.Integer({ minimum: 100, maximum: 600_000, default: 30_000 }),
      },
      { ...closed, default: {} },
    ),
    logLevel: Type.Union(
      LOG_LEVELS.map((level) => Type.Literal(level)),
      { default: 'info' },
    ),
  },
  closed,
);
export type ApplianceConfig = Static<typeof ApplianceConfigSchema>;

/** Where the token of the admin listener's actions lies. */
export function adminTokenFile({ admin, stateDir }: ApplianceConfig): string {
  return admin.tokenFile ?? path.join(stateDir, 'admin.token');
}

/** What one field alone cannot tell. */
export function configProblems(config: ApplianceConfig): readonly string[] {
  const problems: string[] = [];
  if (!isLoopback(config.admin.address)) {
    problems.push(
      `/admin/address: ${config.admin.address} is no loopback address, and the admin listener has no authentication: use 127.0.0.1 or ::1`,
    );
  }
  if (config.bmp !== undefined && !isLoopback(config.bmp.listen.address)) {
    problems.push(
      `/bmp/listen/address: ${config.bmp.listen.address} is no loopback address, and BMP has no authentication: run the router’s daemon (gobgpd, bird) on this box and let it speak to 127.0.0.1`,
    );
  }
  const { hourlyBpsMax, timeZone } = config.fill.budget;
  if (hourlyBpsMax.length !== 0 && hourlyBpsMax.length !== 24) {
    problems.push(
      `/fill/budget/hourlyBpsMax: ${hourlyBpsMax.length} caps: one for each of the 24 hours, or none`,
    );
  }
  if (!isTimeZone(timeZone)) {
    problems.push(`/fill/budget/timeZone: "${timeZone}" is no IANA time zone (Europe/Paris)`);
  }
  const paths = new Set(config.volumes.map((volume) => volume.path));
  if (paths.size < config.volumes.length) {
    problems.push('/volumes: the same path comes twice: one directory is one volume');
  }
  if (config.sender === 'portable' && config.listeners !== 1) {
    problems.push(
      '/listeners: the portable sender has one listener: leave listeners out, or "sender": "auto"',
    );
  }
  const { tls, listen: plain } = config;
  if (tls !== undefined && tls.listen.port !== 0) {
    const same = tls.listen.port === plain.port && tls.listen.address === plain.address;
    if (same) problems.push('/tls/listen: the same as /listen: TLS needs a port of its own');
  }
  return problems;
}

/** The operator's budget as the fill reads it. */
export function fillBudgetOf({ fill: { budget } }: ApplianceConfig): FillBudget {
  return {
    timeZone: budget.timeZone,
    hourlyBpsMax: budget.hourlyBpsMax,
    monthly:
      budget.percentile95BpsMax === null
        ? null
        : {
            percentile95BpsMax: budget.percentile95BpsMax,
            firstDay: budget.billingDay,
            isBursting: budget.burst,
          },
  };
}
