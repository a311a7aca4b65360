/**
 * Configuration of `nightfill steering`: each field with its unit and reason.
 */
import { Type, type Static } from 'typebox';
import { isLoopback, parseAddress } from '#base/address.ts';
import { LOG_LEVELS } from '#base/log.ts';
import { APPLIANCE_ID_PATTERN, ServiceTokenSchema } from '#control-plane/contract.ts';

const port = Type.Integer({ minimum: 0, maximum: 65_535, description: '0: any free port' });
const url = Type.String({ pattern: '^https?://[^/?#\\s]+$', maxLength: 255 });
export const ZONE_PATTERN =
  '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$';

export const SteeringConfigSchema = Type.Object(
  {
    listen: Type.Object(
      { address: Type.String({ default: '127.0.0.1' }), port },
      {
        additionalProperties: false,
        description:
          'play requests, players’ steering manifests and admin. Beyond loopback only with an operator token',
      },
    ),
    publicUrl: Type.Unsafe<string>({
      ...url,
      description: 'how players reach this service: steering manifests carry it as RELOAD-URI',
    }),
    stateDir: Type.String({ minLength: 1, description: 'last good snapshot and keys' }),
    controlPlaneUrl: url,
    controlPlaneToken: Type.String({
      minLength: 1,
      maxLength: 256,
      description: 'bearer token of role "steering" at the control plane',
    }),
    rootFingerprint: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      description: 'of the root key: the only thing that is trusted without proof',
    }),
    tokenKeyFile: Type.String({
      minLength: 1,
      description: 'private JWK (ES256) that signs viewer tokens',
    }),
    serviceTokens: Type.Array(ServiceTokenSchema, {
      maxItems: 64,
      default: [],
      description: 'who may call: role "playback" plays, role "operator" reads status and metrics',
    }),
    countryFile: Type.Union([Type.String({ minLength: 1 }), Type.Null()], {
      default: null,
      description:
        'MaxMind DB (mmdb): the country of clients in no prefix, where playback names none; null: they are placed without one',
    }),
    dns: Type.Object(
      {
        address: Type.String({ default: '127.0.0.1' }),
        port,
        zone: Type.String({ pattern: ZONE_PATTERN, maxLength: 200, description: 'lower case' }),
        workers: Type.Integer({
          minimum: 1,
          maximum: 64,
          default: 1,
          description: 'threads that share the port; 1: the service’s own thread',
        }),
        rateLimited: Type.Boolean({
          default: true,
          description: 'response rate limiting; off only where something in front does it',
        }),
        steerAddresses: Type.Array(Type.String(), {
          maxItems: 8,
          default: [],
          description:
            'addresses of steer.<zone>; none: the host of publicUrl, where it is an address',
        }),
        nameServers: Type.Array(
          Type.Object(
            { name: Type.String({ pattern: ZONE_PATTERN }), addresses: Type.Array(Type.String()) },
            { additionalProperties: false },
          ),
          {
            maxItems: 8,
            default: [],
            description:
              'names below the zone, without it; none: "ns1" at the DNS listener’s address',
          },
        ),
      },
      { additionalProperties: false },
    ),
    steadyTtlSeconds: Type.Integer({
      minimum: 10,
      maximum: 3000,
      default: 120,
      description: 'how long a player keeps its list while all is well; poll load = sessions / TTL',
    }),
    degradedTtlSeconds: Type.Integer({
      minimum: 7,
      maximum: 300,
      default: 10,
      description: 'the same while a box of the player’s list is not well',
    }),
    playPerSecondMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 20_000,
      description:
        'play requests a second of one service token; a batch counts as many as it holds',
    }),
    externalKeys: Type.Array(
      Type.Object(
        {
          externalId: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
          keyFile: Type.String({ minLength: 1, description: 'base64url, at least 32 bytes' }),
        },
        { additionalProperties: false },
      ),
      {
        maxItems: 16,
        default: [],
        description: 'secrets shared with external CDNs that sign by HMAC; one without is not used',
      },
    ),
    liveNodes: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 1,
      description:
        'steering nodes that share the players, until the control plane has said how many live: own assignments count this many times',
    }),
    probe: Type.Object(
      {
        periodMs: Type.Integer({
          minimum: 100,
          maximum: 60_000,
          default: 1000,
          description: 'of one box while it is in doubt or the control plane is gone',
        }),
        connectMs: Type.Integer({ minimum: 10, maximum: 5000, default: 200 }),
        requestMs: Type.Integer({ minimum: 50, maximum: 10_000, default: 1000 }),
        perSecondMax: Type.Integer({ minimum: 1, maximum: 10_000, default: 500 }),
        fromAddresses: Type.Array(Type.String(), {
          maxItems: 2,
          default: [],
          description:
            'source addresses of probes, one a family: a node behind an anycast address probes from its own; none: as the system chooses',
        }),
      },
      { additionalProperties: false, default: {} },
    ),
    decisionLog: Type.Object(
      {
        files: Type.Integer({
          minimum: 0,
          maximum: 1000,
          default: 4,
          description: 'kept below stateDir/decisions, for "nightfill explain --replay"; 0: none',
        }),
        fileBytesMax: Type.Integer({ minimum: 65_536, maximum: 2 ** 40, default: 16_777_216 }),
        perSecondMax: Type.Integer({
          minimum: 1,
          maximum: 1_000_000,
          default: 200,
          description: 'decisions written a second; the others are counted only',
        }),
      },
      { additionalProperties: false, default: {} },
    ),
    logLevel: Type.Union(
      LOG_LEVELS.map((level) => Type.Literal(level)),
      { default: 'info' },
    ),
  },
  { additionalProperties: false },
);
export type SteeringConfig = Static<typeof SteeringConfigSchema>;

/** Relations between fields. */
export function configProblems(config: SteeringConfig): readonly string[] {
  const problems: string[] = [];
  const hasOperator = config.serviceTokens.some((token) => token.role === 'operator');
  if (!isLoopback(config.listen.address) && !hasOperator) {
    problems.push(
      `/listen/address: ${config.listen.address} is not loopback and no operator token protects ` +
        '/status and /metrics: bind to 127.0.0.1, or add a service token of role "operator"',
    );
  }
  const addresses = [
    ['/dns/address', config.dns.address] as const,
    ...config.probe.fromAddresses.map((text) => ['/probe/fromAddresses', text] as const),
    ...config.dns.steerAddresses.map((text) => ['/dns/steerAddresses', text] as const),
    ...config.dns.nameServers.flatMap((server) =>
      server.addresses.map((text) => ['/dns/nameServers', text] as const),
    ),
  ];
  for (const [where, text] of addresses) {
    if (parseAddress(text) === null) problems.push(`${where}: "${text}" is no IP address`);
  }
  if (config.degradedTtlSeconds > config.steadyTtlSeconds) {
    problems.push('/degradedTtlSeconds: longer than steadyTtlSeconds');
  }
  return problems;
}
