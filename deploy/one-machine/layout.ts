/**
 * Where everything of a one-machine CDN lives: addresses, ports, directories, and what each process is told.
 *
 * Pure: options in, layout out. On a machine with the whole of 127.0.0.0/8 every box has an address of its own and
 * all boxes share one port, as in production; where only 127.0.0.1 exists, boxes share the address and
 * `sharedAddress` says what that turns off.
 */
import path from 'node:path';
import type { ServiceRole, Site } from '#control-plane/contract.ts';
import { MIB } from '#base/units.ts';

export interface LayoutOptions {
  readonly stateDir: string;
  readonly addressBlock: string; // first two octets of a loopback block, "127.0"
  readonly portBase: number;
  readonly sharedAddress: boolean; // only 127.0.0.1 can be bound
  readonly storageBytes: number; // per appliance volume
  readonly reactiveShare: number;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface ApplianceLayout {
  readonly applianceId: string;
  readonly siteId: string;
  readonly clusterId: string;
  readonly listen: Endpoint;
  readonly admin: Endpoint;
  readonly baseUrl: string;
  readonly stateDir: string;
  readonly tokenFile: string;
}

export type ServiceName = 'control-plane' | 'origin' | 'steering' | 'playback';

export interface Layout {
  readonly stateDir: string;
  readonly sharedAddress: boolean;
  readonly keysDir: string;
  readonly logsDir: string;
  readonly configDir: string;
  readonly originDir: string;
  readonly publishFile: string;
  readonly controlPlane: Endpoint;
  readonly origin: { readonly listen: Endpoint; readonly admin: Endpoint };
  readonly steering: Endpoint;
  readonly playback: Endpoint;
  readonly dns: Endpoint & { readonly zone: string };
  readonly sites: readonly Site[];
  readonly appliances: readonly ApplianceLayout[];
  readonly viewerAddresses: readonly string[];
}

export const SERVICE_TOKENS: readonly { readonly name: string; readonly role: ServiceRole }[] = [
  { name: 'publish', role: 'publish' },
  { name: 'planner', role: 'planner' },
  { name: 'steering', role: 'steering' },
  { name: 'playback', role: 'playback' },
  { name: 'operator', role: 'operator' },
];

const DNS_ZONE = 'nightfill.test';
// Offsets from the port base.
const PORT_PLAYBACK = 1;
const PORT_STEERING = 2;
const PORT_ADMIN = 3;
const PORT_DNS = 53;
const PORT_CONTENT = 80;
const PORTS_PER_SHARED_BOX = 10; // sharedAddress: each box's content and admin port are this far apart

export function layoutOf(options: LayoutOptions): Layout {
  const { addressBlock, portBase, sharedAddress, stateDir } = options;
  const address = (low: string): string => (sharedAddress ? '127.0.0.1' : `${addressBlock}.${low}`);
  const services = address('0.1');
  const box = (index: number, low: string): { listen: Endpoint; admin: Endpoint } => {
    const shift = sharedAddress ? index * PORTS_PER_SHARED_BOX : 0;
    return {
      listen: { address: address(low), port: portBase + PORT_CONTENT + shift },
      admin: { address: address(low), port: portBase + PORT_ADMIN + shift },
    };
  };
  const appliance = (
    index: number,
    applianceId: string,
    siteId: string,
    low: string,
  ): ApplianceLayout => {
    const endpoints = box(index, low);
    const directory = path.join(stateDir, 'appliances', applianceId);
    return {
      applianceId,
      siteId,
      clusterId: siteId,
      ...endpoints,
      baseUrl: urlOf(endpoints.listen),
      stateDir: directory,
      tokenFile: path.join(stateDir, 'tokens', `enrol-${applianceId}.token`),
    };
  };
  const site = (siteId: string, name: string, at: [number, number], prefixes: string[]): Site => ({
    siteId,
    name,
    country: 'FR',
    latitude: at[0],
    longitude: at[1],
    fillWindow: { startLocal: '00:00', hours: 24, timeZone: 'Europe/Paris' },
    clusters: [{ clusterId: siteId, prefixes }],
  });
  return {
    stateDir,
    sharedAddress,
    keysDir: path.join(stateDir, 'keys'),
    logsDir: path.join(stateDir, 'logs'),
    configDir: path.join(stateDir, 'config'),
    originDir: path.join(stateDir, 'origin'),
    publishFile: path.join(stateDir, 'publish.json'),
    controlPlane: { address: services, port: portBase },
    playback: { address: services, port: portBase + PORT_PLAYBACK },
    steering: { address: services, port: portBase + PORT_STEERING },
    dns: { address: services, port: portBase + PORT_DNS, zone: DNS_ZONE },
    origin: box(0, '0.2'),
    sites: [
      site('paris', 'Paris', [48.85, 2.35], [`${addressBlock}.0.0/17`, '::1/128']),
      site('lyon', 'Lyon', [45.76, 4.84], [`${addressBlock}.128.0/17`]),
    ],
    appliances: [
      appliance(1, 'paris-1', 'paris', '1.1'),
      appliance(2, 'paris-2', 'paris', '1.2'),
      appliance(3, 'lyon-1', 'lyon', '2.1'),
    ],
    viewerAddresses: ['3.1', '3.2', '3.3', '3.4', '130.1', '130.2'].map(address),
  };
}

export function urlOf(endpoint: Endpoint): string {
  return `http://${endpoint.address}:${endpoint.port}`;
}

/** Every endpoint that must be free before anything starts, with what it is for. */
export function endpointsOf(
  layout: Layout,
): readonly { readonly what: string; readonly endpoint: Endpoint; readonly kind: 'tcp' | 'udp' }[] {
  return [
    { what: 'control plane and pages', endpoint: layout.controlPlane, kind: 'tcp' },
    { what: 'playback', endpoint: layout.playback, kind: 'tcp' },
    { what: 'steering', endpoint: layout.steering, kind: 'tcp' },
    { what: 'steering DNS', endpoint: layout.dns, kind: 'udp' },
    { what: 'origin', endpoint: layout.origin.listen, kind: 'tcp' },
    { what: 'origin admin', endpoint: layout.origin.admin, kind: 'tcp' },
    ...layout.appliances.flatMap((box) => [
      { what: `appliance ${box.applianceId}`, endpoint: box.listen, kind: 'tcp' as const },
      { what: `appliance ${box.applianceId} admin`, endpoint: box.admin, kind: 'tcp' as const },
    ]),
  ];
}

/** What each service is told. `tokens` are by name of SERVICE_TOKENS; only their hashes reach the callee. */
export function configsOf(
  layout: Layout,
  options: LayoutOptions,
  secrets: {
    readonly tokens: Readonly<Record<string, string>>;
    readonly tokenHashes: Readonly<Record<string, string>>;
    readonly rootFingerprint: string;
    readonly planCommand: readonly string[];
  },
): Readonly<Record<string, unknown>> {
  const controlPlaneUrl = urlOf(layout.controlPlane);
  const steeringUrl = urlOf(layout.steering);
  const playbackUrl = urlOf(layout.playback);
  const stateOf = (name: string): string => path.join(layout.stateDir, name);
  const serviceTokens = SERVICE_TOKENS.map(({ name, role }) => ({
    name,
    role,
    sha256: secrets.tokenHashes[name],
  }));
  const configs: Record<string, unknown> = {
    'control-plane': {
      listen: layout.controlPlane,
      publicUrl: controlPlaneUrl,
      stateDir: stateOf('control-plane'),
      keysDir: layout.keysDir,
      serviceTokens,
      origin: { baseUrl: urlOf(layout.origin.listen), adminUrl: urlOf(layout.origin.admin) },
      playbackUrl,
      steeringUrl,
      planning: {
        cronUtc: '0 1 * * *',
        planCommand: secrets.planCommand,
        trendCommand:
          secrets.planCommand.length === 0 ? [] : [...secrets.planCommand, 'trend', '--hand-in'],
      },
    },
    origin: {
      listen: layout.origin.listen,
      admin: layout.origin.admin,
      stateDir: layout.originDir,
      controlPlaneUrl,
      rootFingerprint: secrets.rootFingerprint,
    },
    steering: {
      listen: layout.steering,
      publicUrl: steeringUrl,
      stateDir: stateOf('steering'),
      controlPlaneUrl,
      controlPlaneToken: secrets.tokens['steering'],
      rootFingerprint: secrets.rootFingerprint,
      tokenKeyFile: path.join(layout.keysDir, 'token.jwk'),
      serviceTokens,
      dns: layout.dns,
    },
    playback: {
      listen: layout.playback,
      stateDir: stateOf('playback'),
      publicUrl: playbackUrl,
      controlPlaneUrl,
      steeringUrl,
      steeringToken: secrets.tokens['playback'],
    },
  };
  for (const box of layout.appliances) {
    configs[box.applianceId] = {
      applianceId: box.applianceId,
      listen: box.listen,
      publicBaseUrl: box.baseUrl,
      admin: box.admin,
      stateDir: box.stateDir,
      volumes: [{ path: path.join(box.stateDir, 'volume-1'), capacityBytes: options.storageBytes }],
      enrolmentTokenFile: box.tokenFile,
      applianceClass: 'flash',
      servingBps: 1_000_000_000,
      reactiveShare: options.reactiveShare,
      fill: { concurrency: 4, rateBpsMax: null },
    };
  }
  return configs;
}

/** The demo's boxes are smaller than its catalogue, so that placement has something to decide. */
export const DEMO_STORAGE_BYTES = 128 * MIB;
export const DEMO_REACTIVE_SHARE = 0.2;
export const DEMO_CATALOGUE = 'titles=240;files=1x256KiB..2MiB;seed=11';

/** Check: 80 MiB for the manifest, so that of four files of 48 MiB at least two are on no box; 120 MiB for pull-through. */
export const CHECK_STORAGE_BYTES = 200 * MIB;
export const CHECK_REACTIVE_SHARE = 0.6;
export const CHECK_CATALOGUE = 'titles=1;files=4x48MiB,2x3145729;seed=5';
