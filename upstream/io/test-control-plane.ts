/**
 * For tests only: a control plane's catalogue, keys and signed listings, small but honest, on a real loopback listener.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { fingerprintOf, generateSigningKey, signCompact, type SigningKey } from '#base/jws.ts';
import { success, type Outcome } from '#base/outcome.ts';
import {
  JWS_TYPE,
  openKeys,
  type FillGrant,
  type KeyRing,
  type KeysAnswer,
} from '#control-plane/contract.ts';
import { checkTitleListing, type TitleListing } from '../contract.ts';
import type { KeySource } from './origin-server.ts';

export interface TestKeys {
  readonly ring: KeyRing;
  readonly answer: KeysAnswer;
  readonly rootFingerprint: string;
  readonly manifest: SigningKey;
  readonly token: SigningKey;
  readonly grant: SigningKey;
}

export async function makeTestKeys(): Promise<TestKeys> {
  const root = (await generateSigningKey('EdDSA')).key;
  const manifest = (await generateSigningKey('EdDSA')).key;
  const token = (await generateSigningKey('ES256')).key;
  const grant = (await generateSigningKey('ES256')).key;
  const entry = (use: string, issuer: string, key: SigningKey): unknown => ({
    kid: key.kid,
    use,
    issuer,
    jwk: key.publicJwk,
  });
  const online = await signCompact(root, JWS_TYPE.onlineKeys, {
    version: 1,
    issuedAtMs: 1,
    keys: [
      entry('manifest', 'control-plane', manifest),
      entry('token', 'steering', token),
      entry('grant', 'control-plane', grant),
    ],
  });
  const answer = { root: { ...root.publicJwk }, online };
  const rootFingerprint = await fingerprintOf(root.publicJwk);
  const opened = await openKeys(answer, rootFingerprint);
  if (!opened.ok) throw new Error(opened.failure);
  return { ring: opened.value, answer, rootFingerprint, manifest, token, grant };
}

export function keySourceOf(ring: KeyRing): KeySource {
  return {
    current: () => ring,
    refresh: (): Promise<Outcome<KeyRing>> => Promise.resolve(success(ring)),
  };
}

export function signTestGrant(keys: TestKeys, claims: Partial<FillGrant> = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const grant: FillGrant = {
    iss: 'control-plane',
    sub: 'box-1',
    aud: 'fill',
    cnf: { jkt: 'thumbprint' },
    iat: now,
    nbf: now - 60,
    exp: now + 3600,
    ...claims,
  };
  return signCompact(keys.grant, JWS_TYPE.grant, grant);
}

export class TestControlPlane {
  readonly titles = new Map<string, TitleListing>();
  readonly posts: TitleListing[] = [];
  token: string | null = 'publish-token';
  /** Called before each POST is looked at: a test that wants trouble makes it here. */
  beforePost: (() => void | Promise<void>) | null = null;
  refuseSigned = false;
  /** Whether it lists its titles: one that does not makes callers ask for each. */
  listsTitles = false;
  readonly #keys: TestKeys;
  #server: Server | null = null;

  constructor(keys: TestKeys) {
    this.#keys = keys;
  }

  async start(): Promise<string> {
    const server = createServer((asked, answer) => void this.#answer(asked, answer));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of asked as AsyncIterable<Buffer>) parts.push(part);
    const path = asked.url ?? '/';
    if (path === '/v1/keys') {
      json(answer, 200, this.#keys.answer);
      return;
    }
    const signed = /^\/t\/([^/]+)\/listing$/.exec(path);
    if (signed !== null) {
      const listing = this.titles.get(signed[1]);
      if (listing === undefined || this.refuseSigned) {
        json(answer, 404, { message: 'no such title' });
        return;
      }
      const text = await signCompact(this.#keys.manifest, JWS_TYPE.listing, listing);
      answer.writeHead(200, { 'Content-Type': 'application/jose' }).end(text);
      return;
    }
    const title = /^\/v1\/titles\/([^/]+)$/.exec(path);
    if (title !== null) {
      const listing = this.titles.get(title[1]);
      if (listing === undefined) json(answer, 404, { message: 'no such title' });
      else json(answer, 200, listing);
      return;
    }
    if (path === '/v1/titles' && asked.method === 'GET' && this.listsTitles) {
      const titles = [...this.titles.values()].map(({ titleId, version }) => ({
        titleId,
        version,
      }));
      answer.writeHead(200, { 'content-type': 'application/json' });
      answer.end(JSON.stringify({ titles }));
      return;
    }
    if (path === '/v1/titles' && asked.method === 'POST') {
      await this.beforePost?.();
      if (this.#server === null) return;
      this.#take(asked, answer, JSON.parse(Buffer.concat(parts).toString('utf8')));
      return;
    }
    json(answer, 404, { message: 'nothing here' });
  }

  #take(asked: IncomingMessage, answer: ServerResponse, body: unknown): void {
    if (this.token !== null && asked.headers.authorization !== `Bearer ${this.token}`) {
      json(answer, 401, { message: 'the token is not known here' });
      return;
    }
    const checked = checkTitleListing(body);
    if (!checked.ok) {
      json(answer, 400, { message: checked.failure.join('; ') });
      return;
    }
    const listing = checked.value;
    const known = this.titles.get(listing.titleId);
    this.posts.push(listing);
    if (known !== undefined && known.version >= listing.version) {
      const isSame = isDeepStrictEqual(known, listing);
      json(answer, isSame ? 200 : 409, { message: isSame ? 'known' : 'other content' });
      return;
    }
    this.titles.set(listing.titleId, listing);
    json(answer, 200, { titleId: listing.titleId, version: listing.version });
  }
}

function json(answer: ServerResponse, status: number, body: unknown): void {
  answer.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}
