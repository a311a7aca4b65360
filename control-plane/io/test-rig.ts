/**
 * For tests: a real control plane on a loopback port with its own keys and state, and boxes that speak to it as boxes do.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { request, WebSocket } from 'undici';
import type { ApplianceFrame, Heartbeat, ViewRecordBatch } from '#appliance/contract.ts';
import { systemClock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import { generateSigningKey, importSigningKey, signCompact, type SigningKey } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import type { PlanSet } from '#fill-planner/contract.ts';
import type { TitleListing } from '#upstream/contract.ts';
import { ControlPlaneConfigSchema, type ControlPlaneConfig } from '../config.ts';
import {
  applyDelta,
  ASSERTION_AUDIENCE,
  ASSERTION_GRANT_TYPE,
  checkControlPlaneFrame,
  JWS_TYPE,
  openFleetMessage,
  openKeys,
  setDigestOf,
  type FleetSnapshot,
  type HeartbeatAnswer,
  type KeyRing,
  type PushedDocument,
  type ServiceRole,
  type Site,
} from '../contract.ts';
import type { KeySet } from '../trust.ts';
import { initKeyFiles } from './key-files.ts';
import { createControlPlane, type ControlPlane } from './service.ts';
import { exampleHeartbeat, exampleSite } from './test-examples.ts';

const WAIT_MS = 10_000; // a bound on every wait; what is waited for comes in milliseconds
const ROLES: readonly ServiceRole[] = ['publish', 'planner', 'steering', 'operator'];

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly bytes: Buffer;
  readonly body: Record<string, unknown>;
}

export class Rig {
  readonly directory: string;
  readonly keySet: KeySet;
  url = '';
  ring!: KeyRing;
  controlPlane!: ControlPlane;
  readonly #overrides: Partial<ControlPlaneConfig>;
  readonly #ends: (() => void)[] = [];

  private constructor(directory: string, keySet: KeySet, overrides: Partial<ControlPlaneConfig>) {
    this.directory = directory;
    this.keySet = keySet;
    this.#overrides = overrides;
  }

  static async start(t: TestContext, overrides: Partial<ControlPlaneConfig> = {}): Promise<Rig> {
    const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-control-plane-'));
    const keySet = await initKeyFiles(path.join(directory, 'keys'), Date.now());
    const rig = new Rig(directory, keySet, overrides);
    t.after(async () => {
      rig.close();
      await rig.controlPlane.stop();
      rmSync(directory, { recursive: true, force: true });
    });
    await rig.#open();
    return rig;
  }

  /** Stops the process and starts it again on its state. The port changes. */
  async restart(): Promise<void> {
    this.close();
    await this.controlPlane.stop();
    await this.#open();
  }

  close(): void {
    for (const end of this.#ends.splice(0)) end();
  }

  onClose(end: () => void): void {
    this.#ends.push(end);
  }

  async #open(): Promise<void> {
    const config = withDefaults(ControlPlaneConfigSchema, {
      listen: { address: '127.0.0.1', port: 0 },
      publicUrl: 'http://127.0.0.1:7000',
      stateDir: path.join(this.directory, 'state'),
      keysDir: path.join(this.directory, 'keys'),
      serviceTokens: ROLES.map((role) => ({
        name: `the-${role}`,
        role,
        sha256: createHash('sha256').update(`token-${role}`).digest('base64url'),
      })),
      origin: { baseUrl: 'http://127.0.0.1:7001', adminUrl: 'http://127.0.0.1:1' },
      playbackUrl: 'http://127.0.0.1:7002',
      steeringUrl: 'http://127.0.0.1:7003',
      planning: {},
      logLevel: 'silent',
      ...this.#overrides,
    });
    if (!config.ok) throw new Error(config.failure.join('; '));
    const log = createLogger('control-plane', config.value.logLevel);
    this.controlPlane = await createControlPlane(config.value, systemClock, log);
    const { port } = await this.controlPlane.start();
    this.url = `http://127.0.0.1:${port}`;
    const opened = await openKeys(
      { root: { ...this.keySet.rootPublic }, online: this.keySet.online },
      this.keySet.rootFingerprint,
    );
    if (!opened.ok) throw new Error(opened.failure);
    this.ring = opened.value;
  }

  /** `as`: a service role, a bearer token, or nobody. */
  async call(
    method: 'GET' | 'POST' | 'DELETE',
    route: string,
    as: ServiceRole | { readonly bearer: string } | null,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const bearer = as === null ? null : typeof as === 'string' ? `token-${as}` : as.bearer;
    const answer = await request(`${this.url}${route}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
        ...headers,
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(WAIT_MS),
    });
    const bytes = Buffer.from(await answer.body.arrayBuffer());
    const isJson = String(answer.headers['content-type'] ?? '').includes('json');
    const parsed = isJson ? (JSON.parse(bytes.toString('utf8')) as Record<string, unknown>) : {};
    return { status: answer.statusCode, headers: answer.headers, bytes, body: parsed };
  }

  async putSite(over: Partial<Site> = {}): Promise<Answer> {
    return this.call('POST', '/v1/sites', 'operator', { ...exampleSite('paris'), ...over });
  }

  async enrolmentToken(applianceId: string, siteId = 'paris', clusterId = siteId): Promise<string> {
    const wanted = { applianceId, siteId, clusterId };
    const answer = await this.call('POST', '/v1/enrolment-tokens', 'operator', wanted);
    return String(answer.body['token']);
  }

  /** An enrolled box with an access token. */
  async box(applianceId: string, siteId = 'paris'): Promise<RigBox> {
    const box = await RigBox.make(this, applianceId);
    const answer = await box.enrol(await this.enrolmentToken(applianceId, siteId));
    if (answer.status !== 200) throw new Error(String(answer.body['message']));
    await box.authenticate();
    return box;
  }

  async publish(listing: TitleListing): Promise<Answer> {
    return this.call('POST', '/v1/titles', 'publish', listing);
  }

  async signPlan(set: PlanSet, key?: SigningKey): Promise<string> {
    return signCompact(
      key ?? (await importSigningKey(this.keySet.privateOf.plan)),
      JWS_TYPE.plan,
      set,
    );
  }

  /** Follows the fleet as steering does. */
  async follow(): Promise<RigSteering> {
    const steering = await RigSteering.open(this);
    this.onClose(() => steering.close());
    return steering;
  }
}

export class RigBox {
  readonly applianceId: string;
  readonly key: SigningKey;
  readonly #rig: Rig;
  bearer = '';
  bootId: string = randomUUID();
  #socket: WebSocket | null = null;
  #sequence = 0;
  #answers: HeartbeatAnswer[] = [];
  readonly pushed: PushedDocument[] = [];
  closed: { readonly code: number; readonly reason: string } | null = null;

  private constructor(rig: Rig, applianceId: string, key: SigningKey) {
    this.#rig = rig;
    this.applianceId = applianceId;
    this.key = key;
  }

  static async make(rig: Rig, applianceId: string): Promise<RigBox> {
    return new RigBox(rig, applianceId, (await generateSigningKey('ES256')).key);
  }

  /** The same identity and key, as another process. */
  clone(): RigBox {
    const clone = new RigBox(this.#rig, this.applianceId, this.key);
    clone.bearer = this.bearer;
    return clone;
  }

  enrol(token: string, over: Record<string, unknown> = {}): Promise<Answer> {
    return this.#rig.call('POST', '/v1/enrol', null, {
      token,
      publicJwk: this.key.publicJwk,
      baseUrl: `http://${this.applianceId}.test:80`,
      applianceClass: 'flash',
      storageBytes: 1_000_000,
      servingBps: 1_000_000_000,
      ...over,
    });
  }

  assertion(over: Record<string, unknown> = {}, key = this.key): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    return signCompact(key, JWS_TYPE.assertion, {
      iss: this.applianceId,
      sub: this.applianceId,
      aud: ASSERTION_AUDIENCE,
      jti: randomUUID(),
      iat: now,
      exp: now + 30,
      ...over,
    });
  }

  tokenFor(assertion: string): Promise<Answer> {
    const body = { grant_type: ASSERTION_GRANT_TYPE, assertion };
    return this.#rig.call('POST', '/v1/token', null, body);
  }

  async authenticate(): Promise<void> {
    const answer = await this.tokenFor(await this.assertion());
    if (answer.status !== 200) throw new Error(String(answer.body['message']));
    this.bearer = String(answer.body['access_token']);
  }

  get(route: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.#rig.call('GET', route, { bearer: this.bearer }, undefined, headers);
  }

  post(route: string, body: unknown): Promise<Answer> {
    return this.#rig.call('POST', route, { bearer: this.bearer }, body);
  }

  viewRecords(batch: ViewRecordBatch): Promise<Answer> {
    return this.post('/v1/view-records', batch);
  }

  async connect(): Promise<void> {
    this.closed = null;
    const socket = new WebSocket(`${this.#rig.url.replace('http', 'ws')}/v1/heartbeat`, {
      headers: { authorization: `Bearer ${this.bearer}` },
    });
    this.#socket = socket;
    this.#rig.onClose(() => socket.close());
    socket.addEventListener('message', (event) => {
      const checked = checkControlPlaneFrame(JSON.parse(String(event.data)));
      if (!checked.ok) throw new Error(checked.failure.join('; '));
      if (checked.value.type === 'answer') this.#answers.push(checked.value);
      else this.pushed.push(checked.value);
    });
    socket.addEventListener('close', ({ code, reason }) => {
      this.closed = { code, reason };
    });
    await until(`${this.applianceId} to connect`, () => {
      if (this.closed !== null) throw new Error(`refused: ${this.closed.code}`);
      return socket.readyState === WebSocket.OPEN;
    });
  }

  disconnect(): void {
    this.#socket?.close();
  }

  send(frame: ApplianceFrame | string): void {
    this.#socket?.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** Sends one heartbeat and waits for its answer. */
  async beat(over: Partial<Heartbeat> = {}): Promise<HeartbeatAnswer> {
    const sequence = ++this.#sequence;
    this.send({ ...exampleHeartbeat(this.bootId, sequence), ...over });
    let answer: HeartbeatAnswer | undefined;
    await until(`an answer to heartbeat ${sequence} of ${this.applianceId}`, () => {
      if (this.closed !== null)
        throw new Error(`closed: ${this.closed.code} ${this.closed.reason}`);
      answer = this.#answers.find((candidate) => candidate.sequence === sequence);
      return answer !== undefined;
    });
    return answer!;
  }

  /** Tells what it holds in full, and a heartbeat that agrees. */
  async holds(version: number, files: readonly string[]): Promise<HeartbeatAnswer> {
    this.send({ type: 'holdings-full', version, files: [...files] });
    return this.beat({ holdings: { version, digest: setDigestOf(files), files: files.length } });
  }
}

export class RigSteering {
  snapshot!: FleetSnapshot;
  fulls = 0;
  deltas = 0;
  readonly #rig: Rig;
  readonly #abort = new AbortController();
  problem: unknown = null;

  private constructor(rig: Rig) {
    this.#rig = rig;
  }

  static async open(rig: Rig): Promise<RigSteering> {
    const steering = new RigSteering(rig);
    const answer = await request(`${rig.url}/v1/fleet/stream`, {
      headers: { authorization: 'Bearer token-steering' },
      signal: steering.#abort.signal,
      bodyTimeout: 0,
    });
    steering.#read(answer.body).catch((thrown: unknown) => {
      if (!steering.#abort.signal.aborted) steering.problem = thrown;
    });
    await until('the full snapshot', () => steering.fulls > 0);
    return steering;
  }

  close(): void {
    this.#abort.abort();
  }

  standingOf(applianceId: string): string | undefined {
    return this.snapshot.appliances.find((entry) => entry.applianceId === applianceId)?.standing;
  }

  ordinalsOf(applianceId: string): number[] {
    const entry = this.snapshot.holdings.find((held) => held.applianceId === applianceId);
    return [...(entry?.ordinals ?? [])].sort((a, b) => a - b);
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return until(what, () => {
      if (this.problem !== null) throw this.problem as Error;
      return holds();
    });
  }

  async #read(body: AsyncIterable<Buffer>): Promise<void> {
    let text = '';
    for await (const part of body) {
      text += part.toString('utf8');
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const event = text.slice(0, end);
        text = text.slice(end + 2);
        for (const line of event.split('\n')) {
          if (line.startsWith('data: ')) await this.#take(line.slice('data: '.length));
        }
      }
    }
  }

  async #take(jws: string): Promise<void> {
    const opened = await openFleetMessage(jws, this.#rig.ring);
    if (!opened.ok) throw new Error(opened.failure);
    if (opened.value.kind === 'full') {
      this.fulls++;
      this.snapshot = opened.value;
      return;
    }
    const next = applyDelta(this.snapshot, opened.value);
    if (next === 'gap') throw new Error('a delta does not follow the snapshot');
    this.deltas++;
    this.snapshot = next;
  }
}

export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
