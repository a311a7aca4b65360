/**
 * Decides one content request: parse -> authorise -> locate -> range -> answer.
 *
 *   step        no                                            yes
 *   method      405; OPTIONS 204                              parse
 *   path        404                                           authorise
 *   token       403 and its word                              denied
 *   denied      403 and the denial's word                     belongs
 *   belongs     403 token-title, and nothing is fetched       conditions
 *   conditions  304, 412                                      range
 *   range       416                                           locate
 *   here        miss path: 404 where no source has it         answer
 *
 * Invariants: (1) nothing is fetched for a request that was not authorised, or whose file is not of its token's title
 *             (2) never a 503: what this box cannot do now is a 404 that players leave at once
 *             (3) a request under another box's grant never makes this box fetch: no loops
 *             (4) the way of a hit on an open file with a known token has no promise in it
 */
import { LRUCache } from 'lru-cache';
import { assert } from '#base/outcome.ts';
import type { Clock } from '#base/clock.ts';
import { HOME_UNKNOWN } from '#control-plane/contract.ts';
import {
  CHUNK_BYTES,
  encodeChunkList,
  parseContentPath,
  type ContentLocation,
  type FileId,
} from '#upstream/contract.ts';
import { decideRange } from '#upstream/upstream.ts';
import type { Belonging, BelongingRegister } from '../fill/belonging.ts';
import { MissBody } from '../fill/miss-body.ts';
import type { MissPath } from '../fill/miss-path.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { OpenFile } from '../store/open-files.ts';
import type { Store } from '../store/store.ts';
import type { Gate } from './admission-gate.ts';
import {
  NO_ACCOUNT,
  type Account,
  type Answers,
  type CacheOutcome,
  type Extent,
} from './answers.ts';
import { decideCondition } from './conditions.ts';
import type { Counters } from './counters.ts';
import type { Denial, DenyList, DenyRegister } from './deny-list.ts';
import type { GrantVerdicts, PeerBudget } from './grant-verdicts.ts';
import type { Answer, Ending, RequestView, StoredBody } from './sender.ts';
import type { ViewLedger, ViewSlot } from './view-ledger.ts';
import type { KnownToken, TokenVerdict, ViewerVerdicts } from './viewer-verdicts.ts';

export interface ContentHandlerDeps {
  readonly clock: Clock;
  readonly nowSeconds: () => number; // trusted
  readonly answers: Answers;
  readonly store: Store;
  readonly verdicts: ViewerVerdicts;
  readonly grants: GrantVerdicts;
  readonly denials: DenyRegister;
  readonly peerBudget: PeerBudget;
  readonly belonging: BelongingRegister;
  readonly missPath: MissPath;
  readonly onMiss: 'fetch' | 'refuse';
  readonly firstByteMsMax: number;
  readonly counters: Counters;
  readonly views: ViewLedger;
  readonly listingText: (titleId: string) => string | null;
  /** Closed: tokens that were first seen after that are sent to the next box. */
  readonly gate: () => Gate;
  /** A viewer of before the gate closed is served on. */
  readonly onKept: (session: object) => void;
  /** A viewer's answer began at this chunk: some of them are read back later. */
  readonly onServed: (fileId: FileId, chunkIndex: number) => void;
}

/** Who asks, once they were let in. */
type Client =
  | { readonly kind: 'viewer'; readonly token: KnownToken }
  | { readonly kind: 'box'; readonly applianceId: string };

/** A player asks for one target many times: taken apart once, with the URI that its token must cover. */
interface KnownTarget {
  readonly location: ContentLocation;
  // of the request that was last here: read them before anything is awaited
  host: string;
  secure: boolean;
  uri: string;
}

const TARGETS_MAX = 8192; // about 1 KiB each, mostly token

type FileLocation = ContentLocation & { readonly fileId: FileId };

export class ContentHandler {
  readonly #deps: ContentHandlerDeps;
  readonly #targets = new LRUCache<string, KnownTarget>({ max: TARGETS_MAX });

  constructor(deps: ContentHandlerDeps) {
    this.#deps = deps;
  }

  readonly handle = (request: RequestView): Answer | Promise<Answer> => {
    const { answers, verdicts, grants } = this.#deps;
    const { method } = request;
    if (method !== 'GET' && method !== 'HEAD') {
      return method === 'OPTIONS' ? answers.preflight() : answers.methodNotAllowed();
    }
    const target = this.#target(request);
    if (target === null) return answers.notFound();
    const { location, uri } = target;
    if (location.token !== null) {
      const known = verdicts.peek(location.token);
      if (known !== null) return this.#viewer(request, location, uri, known);
      const view = keep(request);
      return verdicts
        .verify(location.token, view.remoteAddress)
        .then((verdict) => this.#viewer(view, location, uri, verdict));
    }
    const bearer = bearerOf(request.authorization);
    if (bearer === null) {
      return this.#denied(
        'token-missing',
        'a viewer token in the path, or a fill grant, is needed',
      );
    }
    const known = grants.peek(bearer);
    if (known !== null) return this.#box(request, location, known);
    const view = keep(request);
    return grants.verify(bearer).then((verdict) => this.#box(view, location, verdict));
  };

  #target(request: RequestView): KnownTarget | null {
    let known = this.#targets.get(request.target);
    if (known === undefined) {
      const location = parseContentPath(request.target);
      if (location === null) return null;
      known = { location, host: request.host, secure: request.secure, uri: '' };
      this.#targets.set(request.target, known);
    } else if (known.host !== request.host || known.secure !== request.secure) {
      known.host = request.host;
      known.secure = request.secure;
      known.uri = '';
    }
    if (known.uri === '') {
      known.uri = `${request.secure ? 'https' : 'http'}://${request.host}${known.location.path}`;
    }
    return known;
  }

  #viewer(
    request: RequestView,
    location: ContentLocation,
    uri: string,
    verdict: TokenVerdict,
  ): Answer | Promise<Answer> {
    if (!verdict.ok) {
      return verdict.refusal === 'busy'
        ? this.#sentAway('full')
        : this.#denied(verdict.refusal, 'this token does not open this file here');
    }
    const { token } = verdict;
    if (!isFile(location) || location.resource !== 'file' || !token.covers(uri)) {
      return this.#denied('token-uri', 'the token is for another title');
    }
    const gate = this.#deps.gate();
    if (gate.name === 'closed') {
      if (token.firstSeenMs >= gate.sinceMs) return this.#sentAway(gate.reason);
      this.#deps.onKept(token);
    }
    const client: Client = { kind: 'viewer', token };
    const denial = denialOf(this.#deps.denials.current, client, location);
    if (denial !== null) return this.#forbidden(denial);
    return this.#belonging(request, location, client);
  }

  #belonging(
    request: RequestView,
    location: FileLocation,
    client: Client,
  ): Answer | Promise<Answer> {
    const { belonging } = this.#deps;
    const known = belonging.peek(location.titleId, location.fileId);
    if (known !== null) return this.#file(request, location, client, known);
    const view = keep(request);
    return belonging
      .decide(location.titleId, location.fileId)
      .then((decided) => this.#file(view, location, client, decided));
  }

  #file(
    request: RequestView,
    location: FileLocation,
    client: Client,
    belonging: Belonging,
  ): Answer | Promise<Answer> {
    if (belonging.verdict === 'not-of-title') {
      return this.#denied('token-title', 'the file does not belong to the title of the token');
    }
    if (belonging.verdict === 'unknown') {
      return this.#unavailable('not-known', 'destination_not_found', belonging.detail);
    }
    const { fileId } = location;
    const decided = this.#extent(request, fileId, belonging.sizeBytes);
    if ('status' in decided) return decided;
    const entry = this.#deps.store.find(fileId);
    if (entry !== undefined && this.#isHere(entry, decided)) {
      return this.#hit(request, entry, decided, client, location);
    }
    return this.#miss(keep(request), location, decided, belonging, client);
  }

  /** Conditions and range: an extent to serve, or the answer that ends it here. */
  #extent(request: RequestView, fileId: FileId, sizeBytes: number): Extent | Answer {
    const { answers } = this.#deps;
    const condition = decideCondition(request, fileId);
    if (condition === 'not-modified') return answers.notModified(fileId);
    if (condition === 'precondition-failed') return answers.preconditionFailed(fileId);
    const range = decideRange(condition === 'go-on' ? request.range : undefined, sizeBytes);
    if (range.kind === 'unsatisfiable') return answers.unsatisfiable(sizeBytes);
    return range.kind === 'whole'
      ? { start: 0, endInclusive: sizeBytes - 1, sizeBytes, isPart: false }
      : { start: range.start, endInclusive: range.endInclusive, sizeBytes, isPart: true };
  }

  #isHere(entry: StoredEntry, extent: Extent): boolean {
    if (entry.isWhole) return true;
    const last = Math.floor(extent.endInclusive / CHUNK_BYTES);
    for (let at = Math.floor(extent.start / CHUNK_BYTES); at <= last; at++) {
      if (!entry.has(at)) return false;
    }
    return true;
  }

  #hit(
    request: RequestView,
    entry: StoredEntry,
    extent: Extent,
    client: Client,
    location: FileLocation,
  ): Answer | Promise<Answer> {
    const { store } = this.#deps;
    if (request.method === 'HEAD') return this.#head(entry.fileId, extent, entry, 'hit');
    const open = store.peek(entry);
    if (open !== null) return this.#stored(open, entry, extent, client, location);
    const view = keep(request);
    return store.lease(entry).then((leased) => {
      if (!leased.ok) {
        // The disk failed under it. The sources may have it; a box's grant never makes us fetch.
        const belonging = {
          verdict: 'belongs',
          sizeBytes: entry.sizeBytes,
          forecastPerDay: entry.forecastPerDay,
        } as const;
        if (client.kind === 'viewer') return this.#miss(view, location, extent, belonging, client);
        this.#deps.peerBudget.giveBack();
        return this.#unavailable('disk-failed', 'proxy_internal_error', leased.failure.detail);
      }
      if (leased.value.serial === entry.serial && this.#isHere(entry, extent)) {
        return this.#stored(leased.value, entry, extent, client, location);
      }
      store.release(leased.value);
      if (client.kind === 'box') this.#deps.peerBudget.giveBack();
      return this.#unavailable(
        'chunk-dropped',
        'proxy_internal_error',
        'a chunk of it was just dropped',
      );
    });
  }

  #stored(
    open: OpenFile,
    entry: StoredEntry,
    extent: Extent,
    client: Client,
    location: FileLocation,
  ): Answer {
    const body: StoredBody = {
      kind: 'stored',
      file: open,
      offset: extent.start,
      length: extent.endInclusive - extent.start + 1,
    };
    const account = this.#account(location, extent, client, () => this.#deps.store.release(open));
    const age = this.#ageSeconds(entry);
    return this.#deps.answers.content(entry.fileId, extent, 'hit', age, body, account);
  }

  async #miss(
    request: RequestView,
    location: FileLocation,
    extent: Extent,
    belonging: Extract<Belonging, { verdict: 'belongs' }>,
    client: Client,
  ): Promise<Answer> {
    const { store, missPath, onMiss, answers } = this.#deps;
    const { fileId, titleId } = location;
    const entry = store.find(fileId);
    const cache: CacheOutcome = entry === undefined ? 'miss' : 'partial';
    if (request.method === 'HEAD') return this.#head(fileId, extent, entry, cache);
    if (onMiss === 'refuse') {
      return this.#unavailable(
        'not-held',
        'destination_not_found',
        'this box does not hold the file',
      );
    }
    const { sizeBytes, forecastPerDay } = belonging;
    const missed = { fileId, titleId, sizeBytes, forecastPerDay };
    const body = new MissBody(store, missPath, missed, extent.start, extent.endInclusive);
    const opened = await this.#inTime(body.open());
    if (opened === 'late') {
      body.close();
      return this.#unavailable('miss-late', 'http_response_timeout', 'no source answered in time');
    }
    if (!opened.ok) {
      return this.#unavailable(
        opened.failure.code,
        'destination_unavailable',
        opened.failure.detail,
      );
    }
    const account = this.#account(location, extent, client, () => body.close());
    return answers.content(fileId, extent, cache, 0, body, account);
  }

  /** Another box, under its grant: what is here, or 404. */
  #box(
    request: RequestView,
    location: ContentLocation,
    verdict: Awaited<ReturnType<GrantVerdicts['verify']>>,
  ): Answer | Promise<Answer> {
    const { answers, store, listingText } = this.#deps;
    if (!verdict.ok) return this.#denied(verdict.refusal, 'this fill grant is not accepted');
    const client: Client = { kind: 'box', applianceId: verdict.grant.sub };
    const denial = denialOf(this.#deps.denials.current, client, location);
    if (denial !== null) return this.#forbidden(denial);
    const isHead = request.method === 'HEAD';
    const absent = (): Answer =>
      this.#unavailable('not-held', 'destination_not_found', 'this box does not hold it');
    if (!isFile(location)) {
      const text = listingText(location.titleId);
      if (text === null) return absent();
      const account = this.#boxAccount(client, location, () => {});
      return answers.document(Buffer.from(text, 'latin1'), 'application/jose', isHead, account);
    }
    const entry = store.find(location.fileId);
    if (entry === undefined) return absent();
    if (location.resource === 'chunks') {
      return this.#chunkList(
        entry,
        isHead,
        absent,
        this.#boxAccount(client, location, () => {}),
      );
    }
    const decided = this.#extent(request, entry.fileId, entry.sizeBytes);
    if ('status' in decided) return decided;
    if (!this.#isHere(entry, decided)) return absent();
    if (isHead) return this.#head(entry.fileId, decided, entry, 'hit');
    if (!this.#deps.peerBudget.take()) return this.#peerBudgetSpent();
    return this.#hit(request, entry, decided, client, location);
  }

  async #chunkList(
    entry: StoredEntry,
    isHead: boolean,
    absent: () => Answer,
    account: Account,
  ): Promise<Answer> {
    const list = await this.#deps.store.chunkList(entry);
    if (!list.ok) return absent();
    const encoded = encodeChunkList(list.value.sizeBytes, list.value.hashes);
    return this.#deps.answers.document(encoded, 'application/octet-stream', isHead, account);
  }

  #head(
    fileId: FileId,
    extent: Extent,
    entry: StoredEntry | undefined,
    cache: CacheOutcome,
  ): Answer {
    const age = entry === undefined ? 0 : this.#ageSeconds(entry);
    return this.#deps.answers.content(fileId, extent, cache, age, null, NO_ACCOUNT);
  }

  #account(location: FileLocation, extent: Extent, client: Client, release: () => void): Account {
    const { fileId } = location;
    if (client.kind === 'box') {
      return this.#boxAccount(client, location, () => {
        this.#deps.peerBudget.giveBack();
        release();
      });
    }
    const { counters, views, store, nowSeconds } = this.#deps;
    counters.viewerRequests++;
    counters.viewersUnderWay++;
    const { home, reason } = client.token.claims;
    const slot = views.take(fileId, home, reason, nowSeconds());
    if (slot !== null && extent.start === 0) slot.starts++;
    this.#deps.onServed(fileId, Math.floor(extent.start / CHUNK_BYTES));
    return new ViewerAccount(this.#deps, slot, client, location, () => {
      release();
      const entry = store.find(fileId);
      return entry;
    });
  }

  #boxAccount(client: Client, location: ContentLocation, release: () => void): Account {
    const { counters, peerBudget, denials } = this.#deps;
    return {
      isWithdrawn: () => denialOf(denials.current, client, location) !== null,
      sent: (bytes) => {
        counters.peerBytesServed += bytes;
        peerBudget.sent(bytes);
      },
      ended: release,
    };
  }

  #sentAway(word: 'draining' | 'full'): Answer {
    return this.#unavailable(word, 'connection_limit_reached', `${word}: go to the next box`);
  }

  #peerBudgetSpent(): Answer {
    this.#deps.counters.refuse('peer-budget');
    return this.#deps.answers.peerBudgetSpent();
  }

  #denied(word: string, detail: string): Answer {
    this.#deps.counters.refuse(word);
    return this.#deps.answers.denied(word, detail);
  }

  #forbidden(denial: Denial): Answer {
    return this.#denied(denial, 'this may not be served any more');
  }

  #unavailable(word: string, error: string, detail: string): Answer {
    this.#deps.counters.refuse(word);
    return this.#deps.answers.unavailable(error, detail);
  }

  #ageSeconds(entry: StoredEntry): number {
    return Math.max(0, Math.floor(this.#deps.nowSeconds() - entry.storedAtMs / 1000));
  }

  /** What takes longer than a player's patience is a no. The fetch itself goes on, and is kept if admitted. */
  #inTime<T>(work: Promise<T>): Promise<T | 'late'> {
    return new Promise((resolve) => {
      const timer = this.#deps.clock.after(this.#deps.firstByteMsMax, () => resolve('late'));
      void work.then((value) => {
        timer.cancel();
        resolve(value);
      });
    });
  }
}

/** Adds a viewer's bytes where they belong, as they go. */
class ViewerAccount implements Account {
  readonly #deps: ContentHandlerDeps;
  readonly #slot: ViewSlot | null;
  readonly #client: Extract<Client, { kind: 'viewer' }>;
  readonly #location: FileLocation;
  readonly #release: () => StoredEntry | undefined;
  #judgedUnder: DenyList | null = null;
  #denial: Denial | null = null;
  #sentBytes = 0;
  #isEnded = false;

  constructor(
    deps: ContentHandlerDeps,
    slot: ViewSlot | null,
    client: Extract<Client, { kind: 'viewer' }>,
    location: FileLocation,
    release: () => StoredEntry | undefined,
  ) {
    this.#deps = deps;
    this.#slot = slot;
    this.#client = client;
    this.#location = location;
    this.#release = release;
  }

  isWithdrawn(): boolean {
    const { current } = this.#deps.denials;
    if (current !== this.#judgedUnder) {
      this.#judgedUnder = current;
      this.#denial = denialOf(current, this.#client, this.#location);
    }
    return this.#denial !== null;
  }

  sent(bytes: number): void {
    const { counters, views } = this.#deps;
    const { home, reason } = this.#client.token.claims;
    this.#sentBytes += bytes;
    counters.viewerBytes += bytes;
    counters.viewerBytesByReason[reason] += bytes;
    if (home === HOME_UNKNOWN) counters.viewerBytesUnknownHome += bytes;
    if (this.#slot === null) views.unrecordedBytes += bytes;
    else this.#slot.bytes += bytes;
  }

  ended(how: Ending): void {
    assert(!this.#isEnded, 'an answer ended twice');
    this.#isEnded = true;
    if (how === 'withdrawn' && this.#denial !== null) this.#deps.counters.refuse(this.#denial);
    this.#deps.counters.viewersUnderWay--;
    if (this.#slot !== null) this.#slot.users--;
    const entry = this.#release();
    if (entry !== undefined && this.#sentBytes > 0)
      this.#deps.store.accessed(entry, this.#sentBytes);
  }
}

/** What a denial says of a client that was let in: asked per request, and again before each part of its body. */
function denialOf(list: DenyList, client: Client, location: ContentLocation): Denial | null {
  const denial = list.content(location.titleId, location.fileId);
  if (denial !== null) return denial;
  if (client.kind === 'box') return list.box(client.applianceId);
  const { keyId, issuer } = client.token.claims;
  return list.token(keyId, issuer);
}

function isFile(location: ContentLocation): location is FileLocation {
  return location.fileId !== null;
}

function bearerOf(authorization: string | undefined): string | null {
  const match = authorization === undefined ? null : /^Bearer +(\S+)$/i.exec(authorization);
  return match === null ? null : match[1];
}

/** A view that outlives the call: the sender may use its own again (sender.ts). */
function keep(request: RequestView): RequestView {
  return { ...request };
}
