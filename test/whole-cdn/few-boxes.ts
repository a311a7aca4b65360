/**
 * For tests: a real control plane and real steering nodes as processes, and boxes as far as both can tell: they beat, say what they
 * hold, and answer probes or not.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { WebSocket } from 'undici';
import type { Heartbeat } from '#appliance/contract.ts';
import { generateSigningKey, signCompact } from '#base/jws.ts';
import {
  ASSERTION_AUDIENCE,
  ASSERTION_GRANT_TYPE,
  JWS_TYPE,
  setDigestOf,
  type Site,
} from '#control-plane/contract.ts';
import type { PlayAnswer } from '#steering/contract.ts';
import type { TitleListing } from '#upstream/contract.ts';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const ROLES = ['publish', 'planner', 'steering', 'playback', 'operator'] as const;
const BEAT_MS = 500;
const WAIT_MS_MAX = 40_000; // things come in milliseconds; a busy machine starts four processes in ten seconds

export interface StatusAppliance {
  readonly applianceId: string;
  readonly standing: string;
  readonly evidence: string;
  readonly evidenceByFamily: { readonly v4: string };
}

export interface SteeringStatus {
  readonly nodes: { readonly live: number; readonly nodeId: string };
  readonly controlPlane: { readonly isGone: boolean };
  readonly appliances?: readonly StatusAppliance[];
  readonly externals?: readonly { readonly externalId: string; readonly evidence: string }[];
}

export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!(await holds())) {
    if (performance.now() - start > WAIT_MS_MAX) {
      assert.fail(`waited ${WAIT_MS_MAX} ms in vain: ${what}`);
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 25);
    });
  }
}

/** `block`: the two bytes after 127 that all its addresses begin with, and a port base of its own. */
export class FewBoxes {
  readonly directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-few-boxes-'));
  readonly controlPlaneUrl: string;
  readonly #block: string;
  readonly #portBase: number;
  readonly #children = new Map<string, ChildProcess>();
  readonly boxes: FakeBox[] = [];

  constructor(block: string, portBase: number) {
    this.#block = block;
    this.#portBase = portBase;
    this.controlPlaneUrl = `http://${this.services}:${portBase}`;
  }

  get services(): string {
    return `127.${this.#block}.0.1`;
  }

  get keysDir(): string {
    return path.join(this.directory, 'keys');
  }

  get rootFingerprint(): string {
    return readFileSync(path.join(this.keysDir, 'root.fingerprint'), 'utf8').trim();
  }

  token(role: string): string {
    return createHash('sha256').update(`few boxes ${role}`).digest('hex');
  }

  close(): void {
    for (const box of this.boxes) box.close();
    for (const child of this.#children.values()) child.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Kills it as a power cut would. */
  async kill(name: string): Promise<void> {
    const child = this.#children.get(name);
    assert.ok(child !== undefined, name);
    const gone = new Promise((done) => {
      child.once('close', done);
    });
    child.kill('SIGKILL');
    await gone;
  }

  async run(...args: readonly string[]): Promise<string> {
    const { child, text } = this.#spawn(args.join(' '), args);
    await until(args.join(' '), () => child.exitCode !== null);
    assert.equal(child.exitCode, 0, text());
    return text();
  }

  async daemon(name: string, command: string, config: object): Promise<void> {
    const file = path.join(this.directory, `${name}.json`);
    writeFileSync(file, JSON.stringify(config));
    const { child, text } = this.#spawn(name, [command, '--config', file]);
    await until(`${name} is ready`, () => {
      assert.equal(child.exitCode, null, text());
      return text().includes('"event":"ready"');
    });
  }

  /** `originUrl`: where viewers find the origin. */
  async startControlPlane(originUrl: string): Promise<void> {
    await this.run('keys', 'init', this.keysDir);
    await this.daemon('control-plane', 'control-plane', {
      listen: { address: this.services, port: this.#portBase },
      publicUrl: this.controlPlaneUrl,
      stateDir: path.join(this.directory, 'control-plane'),
      keysDir: this.keysDir,
      serviceTokens: this.#serviceTokens(),
      origin: { baseUrl: originUrl, adminUrl: `http://127.${this.#block}.0.2:1` },
      playbackUrl: `http://127.${this.#block}.0.2:1`,
      steeringUrl: `http://127.${this.#block}.0.2:1`,
      planning: {},
    });
  }

  steeringAddress(number: number): string {
    return `127.${this.#block}.0.${10 + number}`;
  }

  steeringUrl(number: number): string {
    return `http://${this.steeringAddress(number)}:${this.#portBase + 1}`;
  }

  /** Each node on an address of its own, which its probes come from. */
  startSteering(number: number, over: object = {}): Promise<void> {
    const address = this.steeringAddress(number);
    return this.daemon(`steering-${number}`, 'steering', {
      listen: { address, port: this.#portBase + 1 },
      publicUrl: this.steeringUrl(number),
      stateDir: path.join(this.directory, `steering-${number}`),
      controlPlaneUrl: this.controlPlaneUrl,
      controlPlaneToken: this.token('steering'),
      rootFingerprint: this.rootFingerprint,
      tokenKeyFile: path.join(this.keysDir, 'token.jwk'),
      serviceTokens: this.#serviceTokens(),
      dns: { address, port: this.#portBase + 2, zone: 'nightfill.test' },
      probe: { periodMs: 100, requestMs: 600, fromAddresses: [address] },
      ...over,
    });
  }

  async site(siteId: string, country: string, prefix: string): Promise<void> {
    const site: Site = {
      siteId,
      name: siteId,
      country,
      fillWindow: { startLocal: '00:00', hours: 24, timeZone: 'UTC' },
      clusters: [{ clusterId: siteId, prefixes: [prefix] }],
    };
    await this.call('POST', `${this.controlPlaneUrl}/v1/sites`, 'operator', site);
  }

  async publish(listing: TitleListing): Promise<void> {
    await this.call('POST', `${this.controlPlaneUrl}/v1/titles`, 'publish', listing);
  }

  async box(applianceId: string, siteId: string, host: number, files: string[]): Promise<FakeBox> {
    const address = `127.${this.#block}.1.${host}`;
    const made = await this.call<{ token: string }>(
      'POST',
      `${this.controlPlaneUrl}/v1/enrolment-tokens`,
      'operator',
      { applianceId, siteId, clusterId: siteId },
    );
    const box = new FakeBox(applianceId, address, this.#portBase + 80, files);
    await box.start(this.controlPlaneUrl, made.token);
    this.boxes.push(box);
    return box;
  }

  async call<T>(method: string, url: string, role: string, body?: object): Promise<T> {
    const answer = await fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${this.token(role)}`,
        'content-type': 'application/json',
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${url}: ${answer.status} ${text}`);
    return (text === '' ? null : JSON.parse(text)) as T;
  }

  status(number: number): Promise<SteeringStatus> {
    return this.call('GET', `${this.steeringUrl(number)}/status`, 'operator');
  }

  async boxStatus(number: number, applianceId: string): Promise<StatusAppliance> {
    const { appliances = [] } = await this.status(number);
    const found = appliances.find((one) => one.applianceId === applianceId);
    assert.ok(found !== undefined, applianceId);
    return found;
  }

  play(number: number, request: object): Promise<PlayAnswer> {
    return this.call('POST', `${this.steeringUrl(number)}/v1/play`, 'playback', request);
  }

  #serviceTokens(): readonly object[] {
    return ROLES.map((role) => ({
      name: role,
      role,
      sha256: createHash('sha256').update(this.token(role)).digest('base64url'),
    }));
  }

  #spawn(name: string, args: readonly string[]): { child: ChildProcess; text: () => string } {
    const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.set(name, child);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (part: Buffer) => {
        text = (text + part.toString()).slice(-20_000);
      });
    }
    return { child, text: () => text };
  }
}

/** A box that is well by its own word, whatever its content port does. */
export class FakeBox {
  readonly applianceId: string;
  readonly address: string;
  /** Callers whose requests are taken and never answered. */
  readonly silentTo = new Set<string>();
  egressBps = 0;
  readonly #port: number;
  readonly #files: readonly string[];
  readonly #bootId = randomUUID();
  #server: http.Server | null = null;
  #socket: WebSocket | null = null;
  #timer: NodeJS.Timeout | null = null;
  #sequence = 0;

  constructor(applianceId: string, address: string, port: number, files: readonly string[]) {
    this.applianceId = applianceId;
    this.address = address;
    this.#port = port;
    this.#files = files;
  }

  async start(controlPlaneUrl: string, token: string): Promise<void> {
    await this.listen();
    const { key } = await generateSigningKey('ES256');
    await post(`${controlPlaneUrl}/v1/enrol`, {
      token,
      publicJwk: key.publicJwk,
      baseUrl: `http://${this.address}:${this.#port}`,
      applianceClass: 'flash',
      storageBytes: 1_000_000_000,
      servingBps: 1_000_000_000,
    });
    const now = Math.floor(Date.now() / 1000);
    const assertion = await signCompact(key, JWS_TYPE.assertion, {
      iss: this.applianceId,
      sub: this.applianceId,
      aud: ASSERTION_AUDIENCE,
      jti: randomUUID(),
      iat: now,
      exp: now + 30,
    });
    const access = await post(`${controlPlaneUrl}/v1/token`, {
      grant_type: ASSERTION_GRANT_TYPE,
      assertion,
    });
    const socket = new WebSocket(`${controlPlaneUrl.replace('http', 'ws')}/v1/heartbeat`, {
      headers: { authorization: `Bearer ${String(access['access_token'])}` },
    });
    socket.addEventListener('error', () => {}); // 'close' follows, and the control plane says what it makes of it
    this.#socket = socket;
    await until(`${this.applianceId} connects`, () => socket.readyState === WebSocket.OPEN);
    socket.send(JSON.stringify({ type: 'holdings-full', version: 1, files: this.#files }));
    this.#beat();
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
  }

  listen(): Promise<void> {
    const server = http.createServer((request, response) => {
      if (!this.silentTo.has(request.socket.remoteAddress ?? '')) response.writeHead(404).end();
    });
    this.#server = server;
    return new Promise((resolve) => server.listen(this.#port, this.address, resolve));
  }

  /** Its content port refuses from now on; the box beats on. */
  async refuse(): Promise<void> {
    const server = this.#server;
    server?.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#socket?.close();
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  #beat(): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify(this.#heartbeat()));
  }

  #heartbeat(): Heartbeat {
    return {
      type: 'heartbeat',
      sequence: ++this.#sequence,
      sentAtMs: Date.now(),
      bootId: this.#bootId,
      health: { status: 'healthy', reasons: [] },
      state: 'serving',
      load: {
        egressBps: this.egressBps,
        servingBps: 1_000_000_000,
        connections: 0,
        requestsPerSecond: 0,
      },
      storage: { capacityBytes: 1_000_000_000, usedBytes: 0, pinnedBytes: 0, reactiveBytes: 0 },
      fill: {
        manifestVersion: 0,
        filesWanted: 0,
        filesHeld: 0,
        bytesWanted: 0,
        bytesHeld: 0,
        active: 0,
        rateBps: 0,
        waitingFor: null,
        problem: null,
      },
      counters: {
        viewerBytes: 0,
        viewerRequests: 0,
        viewerBytesByReason: { home: 0, content: 0, health: 0, other: 0 },
        viewerBytesUnknownHome: 0,
        missBytes: { peer: 0, tier: 0, origin: 0 },
        fillBytes: { peer: 0, tier: 0, origin: 0 },
        peerBytesServed: 0,
        chunksCorrupt: 0,
        refused: {},
      },
      holdings: {
        version: 1,
        digest: setDigestOf(this.#files),
        files: this.#files.length,
      },
      versions: { manifest: 0, keys: 1, denials: 0 },
    };
  }
}

async function post(url: string, body: object): Promise<Record<string, unknown>> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `POST ${url}: ${answer.status} ${text}`);
  return JSON.parse(text) as Record<string, unknown>;
}
