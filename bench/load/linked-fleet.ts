/**
 * A CDN of several sites for one bench, each site behind a link of its own: control plane in the core, origin and sites in places
 * of `links.ts`. Every part is the real process with its real configuration; only the plan is signed here, so that every box
 * is to hold every file.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { callJsonOk } from '#base/io/http-client.ts';
import { importSigningKey, signCompact, type JWK } from '#base/jws.ts';
import type { Heartbeat } from '#appliance/contract.ts';
import { JWS_TYPE } from '#control-plane/contract.ts';
import { checkPlannerInput, orderVersionOf, type Plan } from '#fill-planner/contract.ts';
import { signViewerToken } from '#steering/contract.ts';
import { contentPath } from '#upstream/contract.ts';
import { CORE_ADDRESS, placeOf, type LinkSpec } from './links.ts';
import { NODE_FLAGS, startServer, type RunningServer } from './measure.ts';
import { machineLoopback, type Namespace } from './namespace.ts';

const execFileAsync = promisify(execFile);
const CLI = path.join(import.meta.dirname, '..', '..', 'cli.ts');
const ROLES = ['publish', 'planner', 'steering', 'playback', 'operator'] as const;
const CALL_MS_MAX = 20_000;
const CONTROL_PORT = 7800;
const CONTENT_PORT = 7810;
const STEERING_PORT = 7803;
const PLAYBACK_PORT = 7804;
const ADMIN_PORT = 7820; // on 127.0.0.1 of the place; boxes count up from it
const ORPHANED_LOOK_MS = 500;
const TOKEN_SECONDS = 24 * 3600;

export interface FleetShape {
  readonly sites: number;
  readonly boxesPerSite: number;
  readonly originBps: number;
  readonly siteBps: number;
  readonly boxBytes: number; // capacity of each box
  readonly servingBps: number;
  readonly concurrency: number;
  readonly viewerBps?: number; // a place for viewers, at home in the first site, behind a link of this rate
}

export interface FleetBox {
  readonly applianceId: string;
  readonly siteId: string;
  readonly address: string;
  readonly adminPort: number;
  readonly place: Namespace;
  readonly directory: string;
}

export const ORIGIN_ADDRESS = '10.77.0.2';
export const VIEWER_PLACE = 'viewer';
export const VIEWER_ADDRESS = '10.77.0.200';
const VIEWERS_PREFIX = '10.77.0.192/27';

export function linksOf(shape: FleetShape): readonly LinkSpec[] {
  return [
    { name: 'origin', addresses: [ORIGIN_ADDRESS], bps: shape.originBps },
    ...Array.from({ length: shape.sites }, (_, site) => ({
      name: `site${site + 1}`,
      addresses: Array.from({ length: shape.boxesPerSite }, (__, box) => addressOf(site, box)),
      bps: shape.siteBps,
    })),
    ...(shape.viewerBps === undefined
      ? []
      : [{ name: VIEWER_PLACE, addresses: [VIEWER_ADDRESS], bps: shape.viewerBps }]),
  ];
}

function addressOf(site: number, box: number): string {
  return `10.77.0.${(site + 1) * 10 + box + 1}`;
}

/** Must run inside the core of `openLinks(linksOf(shape))`. */
export class LinkedFleet implements AsyncDisposable {
  readonly directory: string;
  readonly boxes: FleetBox[] = [];
  readonly #shape: FleetShape;
  readonly #servers: RunningServer[] = [];
  readonly #starts = new Map<
    string,
    { readonly argv: readonly string[]; readonly place: Namespace }
  >();
  readonly #tokens = Object.fromEntries(
    ROLES.map((role) => [role, randomBytes(24).toString('base64url')]),
  );
  readonly #password = randomBytes(24).toString('base64url');
  readonly #orphaned: NodeJS.Timeout;
  #plans = 0;
  #asked = 0;

  private constructor(shape: FleetShape, parent: string) {
    this.#shape = shape;
    this.directory = mkdtempSync(path.join(parent, 'nightfill-fleet-'));
    process.on('exit', this.#remove);
    process.once('SIGTERM', () => process.exit(143));
    process.once('SIGINT', () => process.exit(130));
    // Inside its namespace the bench is a child: nobody tells it that its parent was stopped.
    const startedBy = process.ppid;
    this.#orphaned = setInterval(() => {
      if (process.ppid !== startedBy) process.exit(1);
    }, ORPHANED_LOOK_MS);
    this.#orphaned.unref();
  }

  /** Also where somebody stopped the bench. */
  readonly #remove = (): void => {
    for (const { pid } of this.#servers) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it had ended
      }
    }
    rmSync(this.directory, { recursive: true, force: true });
  };

  static async start(shape: FleetShape, parent = tmpdir()): Promise<LinkedFleet> {
    const fleet = new LinkedFleet(shape, parent);
    try {
      await fleet.#start();
    } catch (thrown) {
      await fleet[Symbol.asyncDispose]();
      throw thrown;
    }
    return fleet;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#orphaned);
    await Promise.all(this.#servers.splice(0).map((server) => server[Symbol.asyncDispose]()));
    this.#remove();
    process.off('exit', this.#remove);
  }

  get originFiles(): string {
    return path.join(this.directory, 'origin', 'files');
  }

  /** Publishes a title of opaque files, `spec` as of `nightfill publish --opaque`. */
  publish(titleId: string, spec: string): void {
    command(['publish', '--opaque', spec, ...this.#publishing(titleId)]);
  }

  /** Publishes a video or audio file, encoded. It takes a while: connections are closed meanwhile, and that must be heard of. */
  async publishVideo(titleId: string, file: string): Promise<void> {
    const argv = [...NODE_FLAGS, CLI, 'publish', file, ...this.#publishing(titleId)];
    await execFileAsync(process.execPath, argv);
  }

  #publishing(titleId: string): readonly string[] {
    return [
      '--title-id',
      titleId,
      '--control-plane',
      this.#controlUrl,
      '--token-file',
      this.#path('publish.token'),
      '--origin-dir',
      path.join(this.directory, 'origin'),
    ];
  }

  /** One plan for the whole fleet: every box holds every file, the first ones most wanted. */
  async planEverything(): Promise<void> {
    const planDate = new Date().toISOString().slice(0, 10);
    const input = checkPlannerInput(
      await this.#call('GET', `/v1/planner/input?planDate=${planDate}`, 'planner'),
    );
    if (!input.ok) throw new Error(`planner input: ${input.failure.slice(0, 3).join('; ')}`);
    const { epoch, titles, appliances } = input.value;
    const ordinals = titles.flatMap((title) => title.ordinals).sort((a, b) => a - b);
    const order = {
      orderId: 'all',
      epoch,
      ordinals,
      densities: ordinals.map((_, at) => 1000 / (at + 1)),
    };
    const orderVersion = orderVersionOf(order);
    const plans: Plan[] = appliances.map(({ applianceId, clusterId }) => ({
      applianceId,
      clusterId,
      planDate,
      epoch,
      orderVersion,
      everywhereDensity: 0,
      shareDensity: 0,
      fillDensity: 0,
      members: [{ applianceId, weight: 1 }],
      pins: [],
      drops: [],
    }));
    const key = await this.#key('plan');
    const planSet = await signCompact(key, JWS_TYPE.plan, {
      planDate,
      epoch,
      run: `bench-${++this.#plans}`,
      orders: [{ ...order, orderVersion }],
      plans,
      summary: { forecastViewsPerDay: 1, plannedOffloadShare: 1, bytesPlanned: 1, problems: [] },
    });
    await this.#call('POST', '/v1/plans', 'planner', { planSet });
  }

  /** The last heartbeat of each box, in the order of `boxes`; null before its first one. */
  async heartbeats(): Promise<readonly (Heartbeat | null)[]> {
    const credentials = Buffer.from(`bench:${this.#password}`).toString('base64');
    const answer = await fetch(`${this.#controlUrl}/v1/fleet/view`, {
      headers: { authorization: `Basic ${credentials}` },
      signal: AbortSignal.timeout(CALL_MS_MAX),
    });
    if (!answer.ok) throw new Error(`the fleet view answers ${answer.status}`);
    const view = (await answer.json()) as {
      sites: { appliances: { applianceId: string; heartbeat: Heartbeat | null }[] }[];
    };
    const found = new Map(
      view.sites.flatMap(({ appliances }) =>
        appliances.map((box) => [box.applianceId, box.heartbeat] as const),
      ),
    );
    return this.boxes.map((box) => found.get(box.applianceId) ?? null);
  }

  /** `GET /status` of the origin's admin listener, asked from within its place. */
  originStatus(): { readonly fillBytes: number; readonly serveBytes: number } {
    return JSON.parse(
      askInside(placeOf('origin'), `http://127.0.0.1:${ADMIN_PORT}/status`),
    ) as never;
  }

  /** Content paths of a title's files with a viewer token in them, and their sizes. */
  async targets(
    titleId: string,
  ): Promise<readonly { readonly target: string; readonly sizeBytes: number }[]> {
    const key = await this.#key('token');
    const scope = {
      titleId,
      durationSeconds: TOKEN_SECONDS,
      home: 'site1',
      reason: 'home',
    } as const;
    const token = await signViewerToken(key, scope, Math.floor(Date.now() / 1000));
    const listing = (await this.#call('GET', `/v1/titles/${titleId}`, 'operator')) as {
      files: { fileId: string; sizeBytes: number }[];
    };
    return listing.files.map(({ fileId, sizeBytes }) => ({
      target: `/;URISigningPackage=${token}${contentPath(titleId, fileId)}`,
      sizeBytes,
    }));
  }

  /** Compares every file of every box with the origin's copy: bytes found equal; throws on the first that is not. */
  async verifyAll(): Promise<{ readonly files: number; readonly bytes: number }> {
    const wanted = new Map<string, { sha256: string; bytes: number }>();
    for (const name of readdirSync(this.originFiles)) {
      if (name.endsWith('.chunks')) continue;
      wanted.set(name, await digestOf(path.join(this.originFiles, name)));
    }
    let bytes = 0;
    for (const box of this.boxes) {
      for (const [fileId, origin] of wanted) {
        const file = path.join(box.directory, 'volume', 'files', fileId.slice(0, 2), fileId);
        const copy = await digestOf(file);
        if (copy.sha256 !== origin.sha256)
          throw new Error(`${box.applianceId}: ${fileId} differs from the origin's`);
        bytes += copy.bytes;
      }
    }
    return { files: wanted.size, bytes };
  }

  async #start(): Promise<void> {
    const keysDir = this.#path('keys');
    command(['keys', 'init', keysDir]);
    const rootFingerprint = readFileSync(path.join(keysDir, 'root.fingerprint'), 'utf8').trim();
    const originUrl = `http://${ORIGIN_ADDRESS}:${CONTENT_PORT}`;
    this.#write('publish.token', this.#tokens['publish']);
    await this.#daemon('control-plane', 'control-plane', machineLoopback(), {
      listen: { address: CORE_ADDRESS, port: CONTROL_PORT },
      publicUrl: this.#controlUrl,
      stateDir: this.#path('control-plane'),
      keysDir,
      serviceTokens: this.#serviceTokens,
      pagesAuthentication: { user: 'bench', passwordSha256: hash(this.#password) },
      origin: { baseUrl: originUrl, adminUrl: originUrl },
      playbackUrl: `http://${CORE_ADDRESS}:${PLAYBACK_PORT}`,
      steeringUrl: `http://${CORE_ADDRESS}:${STEERING_PORT}`,
      planning: { cronUtc: '0 0 29 2 *', planCommand: [] },
    });
    await this.#daemon('origin', 'origin', placeOf('origin'), {
      listen: { address: ORIGIN_ADDRESS, port: CONTENT_PORT },
      admin: { address: '127.0.0.1', port: ADMIN_PORT },
      stateDir: this.#path('origin'),
      controlPlaneUrl: this.#controlUrl,
      rootFingerprint,
    });
    for (let site = 0; site < this.#shape.sites; site++) {
      const siteId = `site${site + 1}`;
      await this.#call('POST', '/v1/sites', 'operator', {
        siteId,
        name: siteId,
        country: 'FR',
        fillWindow: { startLocal: '00:00', hours: 24, timeZone: 'Europe/Paris' },
        clusters: [
          {
            clusterId: siteId,
            prefixes: [`10.77.${site + 1}.0/24`, ...(site === 0 ? [VIEWERS_PREFIX] : [])],
          },
        ],
      });
    }
    const starts: Promise<void>[] = [];
    for (let site = 0; site < this.#shape.sites; site++) {
      for (let box = 0; box < this.#shape.boxesPerSite; box++) starts.push(this.#box(site, box));
    }
    await Promise.all(starts);
    this.boxes.sort((a, b) => (a.applianceId < b.applianceId ? -1 : 1));
  }

  /** Starts steering and playback in the core, for whole players: the playback service's URL. */
  async servePlayers(): Promise<string> {
    const steeringUrl = `http://${CORE_ADDRESS}:${STEERING_PORT}`;
    const playbackUrl = `http://${CORE_ADDRESS}:${PLAYBACK_PORT}`;
    const keysDir = this.#path('keys');
    await this.#daemon('steering', 'steering', machineLoopback(), {
      listen: { address: CORE_ADDRESS, port: STEERING_PORT },
      publicUrl: steeringUrl,
      stateDir: this.#path('steering'),
      controlPlaneUrl: this.#controlUrl,
      controlPlaneToken: this.#tokens['steering'],
      rootFingerprint: readFileSync(path.join(keysDir, 'root.fingerprint'), 'utf8').trim(),
      tokenKeyFile: path.join(keysDir, 'token.jwk'),
      serviceTokens: this.#serviceTokens,
      dns: { port: 0, zone: 'cdn.test' },
    });
    await this.#daemon('playback', 'playback', machineLoopback(), {
      listen: { address: CORE_ADDRESS, port: PLAYBACK_PORT },
      openToAnybody: true, // within these namespaces
      publicUrl: playbackUrl,
      stateDir: this.#path('playback'),
      controlPlaneUrl: this.#controlUrl,
      steeringUrl,
      steeringToken: this.#tokens['playback'],
    });
    return playbackUrl;
  }

  /** The boxes of a new answer for a viewer of the first site, best first. */
  async answered(titleId: string): Promise<readonly string[]> {
    const outcome = await callJsonOk({
      method: 'POST',
      url: `http://${CORE_ADDRESS}:${STEERING_PORT}/v1/play`,
      body: { titleId, clientAddress: VIEWER_ADDRESS, session: `s${++this.#asked}` },
      bearer: this.#tokens['playback'],
      deadlineMs: CALL_MS_MAX,
    });
    if (!outcome.ok) throw new Error(outcome.failure.detail);
    const { files } = outcome.value as {
      files: { urls: { pathwayId: string; kind: string }[] }[];
    };
    const boxes = files.flatMap(({ urls }) => urls.filter(({ kind }) => kind === 'appliance'));
    return [...new Set(boxes.map(({ pathwayId }) => pathwayId))];
  }

  get #serviceTokens(): readonly object[] {
    return ROLES.map((role) => ({ name: role, role, sha256: hash(this.#tokens[role]) }));
  }

  async #box(site: number, index: number): Promise<void> {
    const siteId = `site${site + 1}`;
    const applianceId = `${siteId}-${index + 1}`;
    const { token } = (await this.#call('POST', '/v1/enrolment-tokens', 'operator', {
      applianceId,
      siteId,
      clusterId: siteId,
    })) as { token: string };
    const directory = this.#path(applianceId);
    mkdirSync(path.join(directory, 'volume'), { recursive: true, mode: 0o700 });
    const address = addressOf(site, index);
    const adminPort = ADMIN_PORT + index;
    const place = placeOf(siteId);
    this.boxes.push({ applianceId, siteId, address, adminPort, place, directory });
    await this.#daemon('appliance', applianceId, place, {
      applianceId,
      listen: { address, port: CONTENT_PORT },
      publicBaseUrl: `http://${address}:${CONTENT_PORT}`,
      admin: { address: '127.0.0.1', port: adminPort },
      stateDir: path.join(directory, 'state'),
      volumes: [{ path: path.join(directory, 'volume'), capacityBytes: this.#shape.boxBytes }],
      enrolmentTokenFile: this.#write(`${applianceId}.token`, token),
      applianceClass: 'flash',
      servingBps: this.#shape.servingBps,
      undrainRampMs: 0,
      fill: { concurrency: this.#shape.concurrency },
    });
  }

  async #daemon(name: string, instance: string, place: Namespace, config: unknown): Promise<void> {
    const file = this.#write(`${instance}.json`, JSON.stringify(config, null, 2));
    const argv = [process.execPath, ...NODE_FLAGS, CLI, name, '--config', file];
    const isReady = (output: string): boolean => output.includes('"event":"ready"');
    this.#starts.set(instance, { argv, place });
    this.#servers.push(await startServer(instance, argv, place, isReady, false));
  }

  /** Bytes of the origin's copy: what any box must give. */
  async originBytes(fileId: string, start: number, length: number): Promise<Buffer> {
    await using file = await open(path.join(this.originFiles, fileId));
    const bytes = Buffer.alloc(length);
    await file.read(bytes, 0, length, start);
    return bytes;
  }

  /** kill -9, now: the process is gone when this returns, as far as its peers can tell. */
  kill(applianceId: string): void {
    const at = this.#servers.findIndex(({ name }) => name === applianceId);
    if (at === -1) throw new Error(`${applianceId} does not run`);
    const [server] = this.#servers.splice(at, 1);
    process.kill(server.pid, 'SIGKILL');
    void server[Symbol.asyncDispose](); // what was to end it at our exit is not needed any more
  }

  /** Starts a box again that was killed, on what it has. */
  async restart(applianceId: string): Promise<void> {
    const start = this.#starts.get(applianceId);
    if (start === undefined) throw new Error(`${applianceId} was never started`);
    const isReady = (output: string): boolean => output.includes('"event":"ready"');
    this.#servers.push(await startServer(applianceId, start.argv, start.place, isReady, false));
  }

  /** Stops the process of a box for a while: connections are accepted by its kernel, nothing is said. */
  pause(applianceId: string): void {
    process.kill(this.#pidOf(applianceId), 'SIGSTOP');
  }

  resume(applianceId: string): void {
    process.kill(this.#pidOf(applianceId), 'SIGCONT');
  }

  #pidOf(applianceId: string): number {
    const server = this.#servers.find(({ name }) => name === applianceId);
    if (server === undefined) throw new Error(`${applianceId} does not run`);
    return server.pid;
  }

  /** Downs or ups the only link of a box's site. A box that is cut off has lost no process: it is just not heard. */
  async link(box: FleetBox, state: 'up' | 'down'): Promise<void> {
    await execFileAsync('ip', ['-n', box.place.name ?? '', 'link', 'set', 'wan0', state]);
  }

  /** An action of a box's admin listener, asked from within its place. */
  async act(box: FleetBox, action: string): Promise<void> {
    const token = readFileSync(path.join(box.directory, 'state', 'admin.token'), 'utf8').trim();
    const ask = { method: 'POST', headers: { authorization: `Bearer ${token}` } };
    const url = `http://127.0.0.1:${box.adminPort}/${action}`;
    const script = `const answer = await fetch(${JSON.stringify(url)}, ${JSON.stringify(ask)}); if (!answer.ok) throw new Error(await answer.text())`;
    const argv = [process.execPath, '--input-type=module', '-e', script];
    const [program, ...rest] = box.place.inside(argv);
    await execFileAsync(program, rest, { timeout: CALL_MS_MAX });
  }

  get #controlUrl(): string {
    return `http://${CORE_ADDRESS}:${CONTROL_PORT}`;
  }

  async #key(name: string): ReturnType<typeof importSigningKey> {
    const file = path.join(this.directory, 'keys', `${name}.jwk`);
    return importSigningKey(JSON.parse(readFileSync(file, 'utf8')) as JWK);
  }

  #path(name: string): string {
    return path.join(this.directory, name);
  }

  #write(name: string, text: string): string {
    writeFileSync(this.#path(name), text, { mode: 0o600 });
    return this.#path(name);
  }

  async #call(
    method: 'GET' | 'POST',
    where: string,
    role: (typeof ROLES)[number],
    body?: unknown,
  ): Promise<unknown> {
    const url = `${this.#controlUrl}${where}`;
    const bearer = this.#tokens[role];
    const outcome = await callJsonOk({ method, url, body, bearer, deadlineMs: CALL_MS_MAX });
    if (!outcome.ok) throw new Error(outcome.failure.detail);
    return outcome.value;
  }
}

export { CONTENT_PORT };

function askInside(place: Namespace, url: string): string {
  const script = `process.stdout.write(await (await fetch(${JSON.stringify(url)})).text())`;
  const [program, ...rest] = place.inside([process.execPath, '--input-type=module', '-e', script]);
  const ended = spawnSync(program, rest, { encoding: 'utf8', timeout: CALL_MS_MAX });
  if (ended.status !== 0) throw new Error(`${url} in ${place.name}: ${ended.stderr}`);
  return ended.stdout;
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

async function digestOf(
  file: string,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const digest = createHash('sha256');
  let bytes = 0;
  for await (const part of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    digest.update(part as Buffer);
    bytes += (part as Buffer).length;
  }
  return { sha256: digest.digest('base64url'), bytes };
}

function command(argv: readonly string[]): void {
  const ended = spawnSync(process.execPath, [...NODE_FLAGS, CLI, ...argv], { encoding: 'utf8' });
  if (ended.status !== 0) {
    throw new Error(`nightfill ${argv.join(' ')} failed:\n${ended.stdout}${ended.stderr}`);
  }
}
