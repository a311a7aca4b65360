/**
 * A control plane and an origin for tests: small, honest, over real HTTP and WebSocket, with keys of their own.
 *
 * They speak the contracts and nothing else; each can be told to misbehave in one named way.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import websocket from '@fastify/websocket';
import fastify, { type FastifyInstance } from 'fastify';
import {
  checkApplianceFrame,
  type ApplianceFrame,
  type Heartbeat,
  type ViewRecordBatch,
} from '#appliance/contract.ts';
import { systemClock, type Clock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import {
  fingerprintOf,
  generateSigningKey,
  signCompact,
  type JWK,
  type SigningKey,
} from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { seededRandom } from '#base/random.ts';
import {
  JWS_TYPE,
  POSSESSION_HEADER,
  signPossession,
  type Denial,
  type FillSource,
  type HeartbeatAnswer,
  type KeysAnswer,
  type ManifestEntry,
} from '#control-plane/contract.ts';
import { manifestContent } from '#control-plane/control-plane.ts';
import { signViewerToken } from '#steering/contract.ts';
import {
  CHUNK_BYTES,
  chunkCountOf,
  encodeChunkList,
  etagOf,
  fileIdOf,
  parseContentPath,
  signedContentUrl,
  type TitleListing,
} from '#upstream/contract.ts';
import { decideRange } from '#upstream/upstream.ts';
import { ApplianceConfigSchema, type ApplianceConfig } from '../config.ts';
import { startAppliance, type RunningAppliance } from './running-appliance.ts';

export interface WorldFile {
  readonly fileId: string;
  readonly sizeBytes: number;
  readonly content: Buffer;
  readonly chunkList: Buffer;
}

/** A file whose bytes come from a seed. */
export function makeFile(seed: number, sizeBytes: number): WorldFile {
  const content = Buffer.allocUnsafe(sizeBytes);
  let state = (seed * 2654435761) >>> 0;
  for (let at = 0; at < sizeBytes; at++) {
    if ((at & 63) === 0) state = (Math.imul(state ^ (state >>> 15), 2246822519) + at) >>> 0;
    content[at] = (state >>> (at & 15)) & 0xff;
  }
  const hashes: Buffer[] = [];
  for (let at = 0; at < chunkCountOf(sizeBytes); at++) {
    const chunk = content.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES);
    hashes.push(createHash('sha256').update(chunk).digest());
  }
  const chunkList = encodeChunkList(sizeBytes, Buffer.concat(hashes));
  return { fileId: fileIdOf(chunkList), sizeBytes, content, chunkList };
}

export function listingOf(titleId: string, files: readonly WorldFile[]): TitleListing {
  return {
    titleId,
    version: 1,
    kind: 'opaque',
    name: titleId,
    durationSeconds: 60,
    class: 'catalogue',
    availability: [{ countries: ['*'] }],
    files: files.map(({ fileId, sizeBytes }) => ({
      fileId,
      sizeBytes,
      kind: 'opaque',
      protection: 'none',
    })),
  };
}

export interface Keys {
  readonly manifest: SigningKey;
  readonly token: SigningKey;
  readonly grant: SigningKey;
  readonly answer: KeysAnswer;
  readonly fingerprint: string;
}

export async function makeKeys(): Promise<Keys> {
  const root = (await generateSigningKey('EdDSA')).key;
  const manifest = (await generateSigningKey('EdDSA')).key;
  const token = (await generateSigningKey('ES256')).key;
  const grant = (await generateSigningKey('ES256')).key;
  const entry = (key: SigningKey, use: string, issuer: string): unknown => ({
    kid: key.kid,
    use,
    issuer,
    jwk: key.publicJwk,
  });
  const online = await signCompact(root, JWS_TYPE.onlineKeys, {
    version: 1,
    issuedAtMs: Date.now(),
    keys: [
      entry(manifest, 'manifest', 'control-plane'),
      entry(token, 'token', 'steering'),
      entry(grant, 'grant', 'control-plane'),
    ],
  });
  return {
    manifest,
    token,
    grant,
    answer: { root: root.publicJwk, online },
    fingerprint: await fingerprintOf(root.publicJwk),
  };
}

export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

export function signGrant(
  keys: Keys,
  applianceId: string,
  thumbprint = 'test',
  lifeSeconds = 3600,
): Promise<string> {
  const now = nowSeconds();
  return signCompact(keys.grant, JWS_TYPE.grant, {
    iss: 'control-plane',
    sub: applianceId,
    aud: 'fill',
    cnf: { jkt: thumbprint },
    iat: now,
    nbf: now - 60,
    exp: now + lifeSeconds,
  });
}

/** Another box of the fleet, as a source sees it: its grant, and proofs that it holds the grant's key. */
export interface OtherBox {
  readonly grant: string;
  prove(sourceId?: string, ageSeconds?: number): Promise<string>;
  /** What it sends to the box under test. */
  headers(): Promise<Record<string, string>>;
}

export async function otherBox(keys: Keys, applianceId: string): Promise<OtherBox> {
  const { key } = await generateSigningKey('ES256');
  const grant = await signGrant(keys, applianceId, key.kid);
  const prove = (sourceId = 'box-1', ageSeconds = 0): Promise<string> =>
    signPossession(key, applianceId, sourceId, nowSeconds() - ageSeconds);
  const headers = async (): Promise<Record<string, string>> => ({
    authorization: `Bearer ${grant}`,
    [POSSESSION_HEADER]: await prove(),
  });
  return { grant, prove, headers };
}

/** How a source treats content requests, instead of answering them well. */
export type Misbehaviour =
  | 'none'
  | 'tampers' // one bit of each chunk
  | 'lies-200' // the whole file for a range
  | 'short' // half of the body, then a clean end
  | 'closes' // resets halfway
  | 'stalls' // headers and half of the body, then nothing
  | 'wrong-etag'
  | 'refuses' // 404 to everything
  | 'wants-proof'; // a box that is newer than the one that asks

/** Serves files by range to grants (not checked: the box under test is who is tested). */
export class FakeSource {
  readonly files = new Map<string, WorldFile>();
  readonly listings = new Map<string, string>();
  misbehaviour: Misbehaviour = 'none';
  /** Range requests for content, "fileId range purpose". */
  readonly requests: string[] = [];
  delayMs = 0;
  #server: Server;
  baseUrl = '';

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.baseUrl = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  add(...files: readonly WorldFile[]): this {
    for (const file of files) this.files.set(file.fileId, file);
    return this;
  }

  as(kind: FillSource['kind'], id: string): FillSource {
    return { kind, id, baseUrl: this.baseUrl, delayMs: 0 };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const location = parseContentPath(request.url ?? '');
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    if (location === null || this.misbehaviour === 'refuses')
      return void response.writeHead(404).end();
    if (this.misbehaviour === 'wants-proof')
      return void response.writeHead(403, { 'nightfill-refused': 'possession-missing' }).end();
    if (location.resource === 'listing') {
      const text = this.listings.get(location.titleId);
      return void response.writeHead(text === undefined ? 404 : 200).end(text);
    }
    const file = this.files.get(location.fileId ?? '');
    if (file === undefined) return void response.writeHead(404).end();
    if (location.resource === 'chunks') return void response.writeHead(200).end(file.chunkList);
    const { range } = request.headers;
    this.requests.push(`${file.fileId} ${range} ${String(request.headers['nightfill-purpose'])}`);
    this.#content(file, range, response);
  }

  #content(file: WorldFile, range: string | undefined, response: ServerResponse): void {
    const decided = decideRange(range, file.sizeBytes);
    if (decided.kind === 'unsatisfiable') return void response.writeHead(416).end();
    const start = decided.kind === 'part' ? decided.start : 0;
    const end = decided.kind === 'part' ? decided.endInclusive : file.sizeBytes - 1;
    if (this.misbehaviour === 'lies-200') {
      return void response.writeHead(200, { 'content-length': file.sizeBytes }).end(file.content);
    }
    const body = Buffer.from(file.content.subarray(start, end + 1));
    const half = body.length >> 1;
    if (this.misbehaviour === 'tampers') {
      for (let at = 100; at < body.length; at += CHUNK_BYTES) body[at] ^= 1;
    }
    const isShort = this.misbehaviour === 'short';
    response.writeHead(206, {
      etag: this.misbehaviour === 'wrong-etag' ? '"another"' : etagOf(file.fileId),
      'content-range': `bytes ${start}-${end}/${file.sizeBytes}`,
      ...(isShort ? { connection: 'close' } : { 'content-length': body.length }),
    });
    if (isShort) response.end(body.subarray(0, half));
    else if (this.misbehaviour === 'closes')
      response.write(body.subarray(0, half), () => response.destroy());
    else if (this.misbehaviour === 'stalls') response.write(body.subarray(0, half));
    else response.end(body);
  }
}

/** The control plane's side of every contract that a box uses. */
export class FakeControlPlane {
  readonly keys: Keys;
  readonly applianceId: string;
  readonly heartbeats: Heartbeat[] = [];
  readonly frames: ApplianceFrame[] = [];
  readonly batches: ViewRecordBatch[] = [];
  readonly held = new Set<string>();
  sources: FillSource[] = [];
  titlesOf = new Map<string, string[]>();
  listings = new Map<string, string>();
  manifest: Buffer | null = null;
  manifestVersion = 0;
  isWindowOpen = true;
  resync = false;
  timeOffsetMs = 0;
  isAway = false;
  acknowledges = true;
  grantSeconds = 3600;
  baseUrl = '';
  #server: FastifyInstance;
  #acknowledged = new Map<string, number>();
  #thumbprint = 'test'; // of the key that the box enrolled with
  readonly #sockets = new Set<{ send(text: string): void }>();
  /** The frame with the deny list, sent to whoever connects. */
  denials: string | null = null;

  constructor(keys: Keys, applianceId = 'box-1') {
    this.keys = keys;
    this.applianceId = applianceId;
    this.#server = fastify({ forceCloseConnections: true, bodyLimit: 64 * 1024 * 1024 });
  }

  async start(port = 0): Promise<this> {
    const server = this.#server;
    await server.register(websocket);
    server.get('/v1/keys', () => this.keys.answer);
    server.post<{ Body: { publicJwk: JWK } }>('/v1/enrol', async (request) => {
      this.#thumbprint = await fingerprintOf(request.body.publicJwk);
      return {
        applianceId: this.applianceId,
        siteId: 'site-1',
        clusterId: 'cluster-1',
        keys: this.keys.answer,
      };
    });
    server.post('/v1/token', () => ({
      access_token: 'access',
      token_type: 'Bearer',
      expires_in: 3600,
    }));
    server.get('/v1/grant', async () => ({
      grant: await signGrant(this.keys, this.applianceId, this.#thumbprint, this.grantSeconds),
    }));
    server.get('/v1/manifest', (_, reply) =>
      this.manifest === null
        ? reply.code(404).send({})
        : reply.type('application/octet-stream').send(this.manifest),
    );
    server.post<{ Body: { fileIds: string[] } }>('/v1/sources', (request) => ({
      version: 1,
      files: request.body.fileIds.map((fileId) => ({
        fileId,
        titles: this.titlesOf.get(fileId) ?? [],
        sources: this.sources,
      })),
    }));
    server.post<{ Body: ViewRecordBatch }>('/v1/view-records', (request) =>
      this.#take(request.body),
    );
    server.get<{ Params: { titleId: string } }>('/t/:titleId/listing', (request, reply) => {
      const text = this.listings.get(request.params.titleId);
      return text === undefined
        ? reply.code(404).send({})
        : reply.type('application/jose').send(text);
    });
    server.get('/v1/heartbeat', { websocket: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      if (this.denials !== null) socket.send(this.denials);
      socket.on('message', (data: Buffer) => {
        void this.#frame(data.toString()).then((answer) => {
          if (answer !== null) socket.send(JSON.stringify(answer));
        });
      });
    });
    this.baseUrl = await server.listen({ host: '127.0.0.1', port });
    return this;
  }

  async stop(): Promise<void> {
    await this.#server.close();
  }

  async enrolmentToken(
    applianceId = this.applianceId,
    fingerprint = this.keys.fingerprint,
  ): Promise<string> {
    return signCompact(this.keys.grant, JWS_TYPE.enrolment, {
      jti: 'enrolment-1',
      sub: applianceId,
      site: 'site-1',
      cluster: 'cluster-1',
      controlPlaneUrl: this.baseUrl,
      rootFingerprint: fingerprint,
      exp: nowSeconds() + 3600,
    });
  }

  async plan(
    version: number,
    entries: readonly ManifestEntry[],
    signer: SigningKey = this.keys.manifest,
    applianceId = this.applianceId,
  ): Promise<Buffer> {
    const bytes = await manifestOf(version, entries, signer, applianceId);
    this.manifest = bytes;
    this.manifestVersion = version;
    return bytes;
  }

  /** Signs a deny list and pushes it. */
  async deny(
    version: number,
    denied: readonly Pick<Denial, 'kind' | 'value'>[],
    signer: SigningKey = this.keys.manifest,
  ): Promise<void> {
    const denials = denied.map((entry, at) => ({ id: at + 1, sinceMs: 1, ...entry }));
    const list = { version, issuedAtMs: Date.now(), denials };
    const document = await signCompact(signer, JWS_TYPE.denials, list);
    this.denials = JSON.stringify({ type: 'denials', document });
    for (const socket of this.#sockets) socket.send(this.denials);
  }

  async list(titleId: string, files: readonly WorldFile[]): Promise<string> {
    const text = await signCompact(this.keys.manifest, JWS_TYPE.listing, listingOf(titleId, files));
    this.listings.set(titleId, text);
    return text;
  }

  #take(batch: ViewRecordBatch): { acknowledged: number } {
    const last = this.#acknowledged.get(batch.spoolId) ?? 0;
    if (!this.acknowledges || batch.sequence !== last + 1) return { acknowledged: last };
    this.batches.push(batch);
    this.#acknowledged.set(batch.spoolId, batch.sequence);
    return { acknowledged: batch.sequence };
  }

  async #frame(text: string): Promise<HeartbeatAnswer | null> {
    const checked = checkApplianceFrame(JSON.parse(text));
    if (!checked.ok) throw new Error(`a bad frame: ${checked.failure.join('; ')}`);
    const frame = checked.value;
    this.frames.push(frame);
    if (frame.type === 'holdings-full') {
      this.held.clear();
      for (const fileId of frame.files) this.held.add(fileId);
      this.resync = false;
    } else if (frame.type === 'holdings-delta') {
      for (const fileId of frame.removed) this.held.delete(fileId);
      for (const fileId of frame.added) this.held.add(fileId);
    }
    if (frame.type !== 'heartbeat') return null;
    this.heartbeats.push(frame);
    const signedTime = await signCompact(this.keys.manifest, JWS_TYPE.time, {
      nowMs: Date.now() + this.timeOffsetMs,
    });
    return {
      type: 'answer',
      sequence: frame.sequence,
      signedTime,
      versions: {
        manifest: this.manifestVersion,
        sources: 1,
        keys: 1,
        denials: 0,
        configuration: 0,
      },
      fillWindow: { open: this.isWindowOpen, closesAtMs: null, opensAtMs: null },
      resyncHoldings: this.resync,
    };
  }
}

/** A manifest as the control plane serves it, by whatever key. */
export async function manifestOf(
  version: number,
  entries: readonly ManifestEntry[],
  signer: SigningKey,
  applianceId = 'box-1',
): Promise<Buffer> {
  const { body, bodySha256, setDigest } = manifestContent(entries);
  const header = await signCompact(signer, JWS_TYPE.manifest, {
    applianceId,
    clusterId: 'cluster-1',
    version,
    kind: 'full',
    baseVersion: 0,
    epoch: 1,
    planDate: '2026-11-20',
    issuedAtMs: Date.now(),
    entries: entries.length,
    bodySha256,
    setDigest,
    fillDensity: 0,
  });
  return Buffer.concat([Buffer.from(`${header}\n`, 'latin1'), ...body]);
}

export function entryOf(file: WorldFile, titleId: string, density = 1): ManifestEntry {
  return { fileId: file.fileId, sizeBytes: file.sizeBytes, titles: [titleId], density };
}

/** One box under test, with a control plane and an origin of its own. */
export class World {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'nightfill-box-'));
  readonly keys: Keys;
  readonly controlPlane: FakeControlPlane;
  readonly origin: FakeSource;
  box: RunningAppliance | null = null;

  private constructor(keys: Keys, controlPlane: FakeControlPlane, origin: FakeSource) {
    this.keys = keys;
    this.controlPlane = controlPlane;
    this.origin = origin;
  }

  /** `keys`: those of another world whose sources this box may be given. */
  static async open(keys?: Keys, applianceId = 'box-1'): Promise<World> {
    keys ??= await makeKeys();
    const controlPlane = await new FakeControlPlane(keys, applianceId).start();
    const origin = await new FakeSource().start();
    controlPlane.sources = [origin.as('origin', 'origin')];
    const world = new World(keys, controlPlane, origin);
    writeFileSync(path.join(world.directory, 'token'), await controlPlane.enrolmentToken());
    return world;
  }

  config(overrides: Record<string, unknown> = {}): ApplianceConfig {
    const outcome = withDefaults(ApplianceConfigSchema, {
      applianceId: this.controlPlane.applianceId,
      listen: { address: '127.0.0.1', port: 0 },
      publicBaseUrl: 'http://127.0.0.1:1',
      admin: { address: '127.0.0.1', port: 0 },
      stateDir: path.join(this.directory, 'state'),
      volumes: [{ path: path.join(this.directory, 'volume'), capacityBytes: 256 * CHUNK_BYTES }],
      enrolmentTokenFile: path.join(this.directory, 'token'),
      applianceClass: 'flash',
      servingBps: 10_000_000_000,
      logLevel: 'silent',
      ...overrides,
    });
    if (!outcome.ok) throw new Error(outcome.failure.join('; '));
    return outcome.value;
  }

  async start(
    overrides: Record<string, unknown> = {},
    clock: Clock = systemClock,
  ): Promise<RunningAppliance> {
    this.box = await startAppliance({
      config: this.config(overrides),
      clock,
      random: seededRandom(1),
      log: createLogger('test', 'silent'),
      signal: new AbortController().signal,
    });
    return this.box;
  }

  async token(titleId: string, home = 'cluster-1'): Promise<string> {
    const scope = { titleId, durationSeconds: 60, home, reason: 'home' as const };
    return signViewerToken(this.keys.token, scope, nowSeconds());
  }

  async url(titleId: string, fileId: string): Promise<string> {
    return signedContentUrl(this.contentUrl, await this.token(titleId), titleId, fileId);
  }

  get contentUrl(): string {
    return `http://127.0.0.1:${this.box?.content.port}`;
  }

  /** What an action on the admin listener carries. */
  get adminHeaders(): { readonly authorization: string } {
    const token = readFileSync(path.join(this.directory, 'state', 'admin.token'), 'utf8').trim();
    return { authorization: `Bearer ${token}` };
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.box?.admin.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.box?.stop();
    await this.controlPlane.stop();
    await this.origin.stop();
    rmSync(this.directory, { recursive: true });
  }
}

export interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly isWhole: boolean; // false: cut before its Content-Length
}

/** A plain client that tells a cut body from a whole one. */
export function get(
  url: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { headers, method, agent: false }, (response) => {
      const parts: Buffer[] = [];
      let isWhole = true;
      const done = (): void =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(parts),
          isWhole: isWhole && response.complete,
        });
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', () => {
        isWhole = false;
      });
      response.on('close', done);
    });
    request.on('error', reject);
    request.end();
  });
}

export async function until(
  holds: () => boolean,
  what: string,
  deadlineMs = 20_000,
): Promise<void> {
  const startMs = performance.now();
  while (!holds()) {
    if (performance.now() - startMs > deadlineMs)
      throw new Error(`it did not happen in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
