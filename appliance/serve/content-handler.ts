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
import type { Random } from '#base/random.ts';
import { POSSESSION_HEADER } from '#control-plane/contract.ts';
import {
  CHUNK_BYTES,
  encodeChunkList,
  parseContentPath,
  type ContentLocation,
  type FileId,
  type TitleId,
  type TitleListing,
} from '#upstream/contract.ts';
import { decideRange } from '#upstream/upstream.ts';
import type { Belonging, BelongingRegister } from '../fill/belonging.ts';
import type { MissBody } from '../fill/miss-body.ts';
import type { MissedFile } from '../fill/miss-path.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { OpenFile } from '../store/open-files.ts';
import type { Store } from '../store/store.ts';
import {
  BoxAccount,
  denialOf,
  ViewerAccount,
  type AccountDeps,
  type Asked,
  type Client,
  type FileLocation,
} from './accounts.ts';
import { admit, type Gate } from './admission-gate.ts';
import {
  NO_ACCOUNT,
  type Account,
  type Answers,
  type CacheOutcome,
  type Extent,
} from './answers.ts';
import { decideCondition } from './conditions.ts';
import type { GrantVerdicts } from './grant-verdicts.ts';
import { Refusals } from './refusals.ts';
import type { Answer, RequestView, StoredBody } from './sender.ts';
import type { KnownToken, TokenVerdict, ViewerVerdicts } from './viewer-verdicts.ts';

type OnMiss = 'fetch' | 'refuse';

export interface ContentHandlerDeps extends AccountDeps {
  readonly random: Random;
  readonly answers: Answers;
  readonly verdicts: Pick<ViewerVerdicts, 'peek' | 'verify'>;
  readonly grants: Pick<GrantVerdicts, 'peek' | 'verify'>;
  readonly belonging: Pick<BelongingRegister, 'peek' | 'decide'>;
  readonly store: Pick<Store, 'find' | 'peek' | 'lease' | 'release' | 'chunkList'>;
  readonly missBody: (missed: MissedFile, start: number, endInclusive: number) => MissBody;
  readonly onMiss: OnMiss;
  /** What a title's class says instead, by the signed listing that vouched for the file. */
  readonly onMissByClass: Readonly<Partial<Record<TitleListing['class'], OnMiss>>>;
  readonly firstByteMsMax: number;
  readonly listingText: (titleId: string) => string | null;
  /** Closed or ramping: tokens that were first seen after that may be sent to the next box. */
  readonly gate: () => Gate;
  /** A viewer of before the gate closed is served on. */
  readonly onKept: (session: object) => void;
  /** A viewer's answer began at this chunk: some of them are read back later. */
  readonly onServed: (fileId: FileId, chunkIndex: number) => void;
  /** Told of hits of viewers on whole files, where somebody else may answer the next one like it; null: nobody does. */
  readonly onHit: ((answer: Answer, hit: Hit) => void) | null;
}

/** What was found for a request that is answered from a whole file: true of the next one with this target and host too. */
export interface Hit {
  readonly token: KnownToken;
  readonly titleId: TitleId;
  readonly file: OpenFile;
}

/** A player asks for one target many times: taken apart once, with the URI that its token must cover. */
interface KnownTarget {
  readonly location: ContentLocation;
  // of the request that was last here: read them before anything is awaited
  host: string;
  secure: boolean;
  uri: string;
}

const TARGETS_MAX = 8192; // about 1 KiB each, mostly token
const TOKEN_IN_QUERY = 'URISigningPackage=';

export class ContentHandler {
  readonly #deps: ContentHandlerDeps;
  readonly #targets = new LRUCache<string, KnownTarget>({ max: TARGETS_MAX });
  readonly #refusals: Refusals;

  constructor(deps: ContentHandlerDeps) {
    this.#deps = deps;
    this.#refusals = new Refusals(deps.answers, deps.counters, deps.clock, deps.random);
  }

  readonly handle = (request: RequestView): Answer | Promise<Answer> => {
    const { answers, verdicts, grants } = this.#deps;
    const { method } = request;
    if (method !== 'GET' && method !== 'HEAD') {
      return method === 'OPTIONS' ? answers.preflight() : answers.methodNotAllowed();
    }
    const queryAt = request.target.indexOf('?');
    const target = this.#target(request, queryAt);
    if (target === null) return answers.notFound();
    const { location, uri } = target;
    const asked: Asked = {
      request,
      location,
      startMs: this.#deps.clock.monotonicMs(),
      throughputKbps: null,
      timing: '',
    };
    if (location.token !== null) {
      const known = verdicts.peek(location.token);
      if (known !== null) return this.#viewer(asked, uri, known);
      const kept = keep(asked);
      return verdicts
        .verify(location.token, request.remoteAddress)
        .then((verdict) => this.#viewer(this.#waited(kept, 'tok'), uri, verdict));
    }
    const bearer = bearerOf(request.authorization);
    if (bearer === null) {
      return this.#refusals.denied(
        'token-missing',
        'a viewer token in the path, or a fill grant, is needed',
      );
    }
    const { possession } = request;
    const known = grants.peek(bearer, possession);
    if (known !== null) return this.#box(asked, known);
    const kept = keep(asked);
    return grants
      .verify(bearer, possession)
      .then((verdict) => this.#box(this.#waited(kept, 'tok'), verdict));
  };

  /** A query says nothing but for a token in it: what players add (CMCD) changes with each request. */
  #target(request: RequestView, queryAt: number): KnownTarget | null {
    const isPathEnough = queryAt !== -1 && !request.target.includes(TOKEN_IN_QUERY, queryAt);
    const target = isPathEnough ? request.target.slice(0, queryAt) : request.target;
    let known = this.#targets.get(target);
    if (known === undefined) {
      const location = parseContentPath(target);
      if (location === null) return null;
      known = { location, host: request.host, secure: request.secure, uri: '' };
      this.#targets.set(target, known);
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

  #viewer(asked: Asked, uri: string, verdict: TokenVerdict): Answer | Promise<Answer> {
    if (!verdict.ok) {
      if (verdict.refusal === 'busy') return this.#refusals.sentAway('full');
      const answer = this.#refusals.denied(
        verdict.refusal,
        'this token does not open this file here',
      );
      return verdict.refusal === 'token-limit' ? this.#refusals.held(answer) : answer;
    }
    const { token } = verdict;
    if (!isOfFile(asked) || asked.location.resource !== 'file' || !token.covers(uri)) {
      return this.#refusals.denied('token-uri', 'the token is for another title');
    }
    const admittance = admit(this.#deps.gate(), token);
    if (admittance === 'kept') this.#deps.onKept(token);
    else if (admittance !== 'admitted') return this.#refusals.sentAway(admittance);
    const client: Client = { kind: 'viewer', token };
    const denial = denialOf(this.#deps.denials.current, client, asked.location);
    if (denial !== null) return this.#refusals.forbidden(denial);
    return this.#belonging(this.#heard(asked), client);
  }

  /** Only of those who were let in: a stranger's word is not counted. */
  #heard(asked: Asked<FileLocation>): Asked<FileLocation> {
    const { target } = asked.request;
    const queryAt = target.indexOf('?');
    if (queryAt === -1) return asked;
    return { ...asked, throughputKbps: this.#deps.quality.heard(target, queryAt) };
  }

  #belonging(asked: Asked<FileLocation>, client: Client): Answer | Promise<Answer> {
    const { belonging } = this.#deps;
    const { titleId, fileId } = asked.location;
    const known = belonging.peek(titleId, fileId);
    if (known !== null) return this.#file(asked, client, known);
    const kept = keep(asked);
    return belonging
      .decide(titleId, fileId)
      .then((decided) => this.#file(this.#waited(kept, 'list'), client, decided));
  }

  #file(
    asked: Asked<FileLocation>,
    client: Client,
    belonging: Belonging,
  ): Answer | Promise<Answer> {
    if (belonging.verdict === 'not-of-title') {
      return this.#refusals.denied(
        'token-title',
        'the file does not belong to the title of the token',
      );
    }
    if (belonging.verdict === 'unknown') {
      return this.#refusals.unavailable('not-known', 'destination_not_found', belonging.detail);
    }
    const { fileId } = asked.location;
    const decided = this.#extent(asked.request, fileId, belonging.sizeBytes);
    if ('status' in decided) return decided;
    const entry = this.#deps.store.find(fileId);
    if (entry !== undefined && this.#isHere(entry, decided)) {
      return this.#hit(asked, entry, decided, client);
    }
    return this.#miss(keep(asked), decided, belonging, client);
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
    asked: Asked<FileLocation>,
    entry: StoredEntry,
    extent: Extent,
    client: Client,
  ): Answer | Promise<Answer> {
    const { store } = this.#deps;
    if (asked.request.method === 'HEAD') return this.#head(entry.fileId, extent, entry, 'hit');
    const open = store.peek(entry);
    if (open !== null) return this.#stored(asked, open, entry, extent, client);
    const kept = keep(asked);
    return store.lease(entry).then((leased) => {
      const waited = this.#waited(kept, 'disk');
      if (!leased.ok) {
        // The disk failed under it. The sources may have it; a box's grant never makes us fetch.
        const belonging = {
          verdict: 'belongs',
          sizeBytes: entry.sizeBytes,
          forecastPerDay: entry.forecastPerDay,
        } as const;
        if (client.kind === 'viewer') return this.#miss(waited, extent, belonging, client);
        this.#deps.peerBudget.giveBack();
        return this.#refusals.unavailable(
          'disk-failed',
          'proxy_internal_error',
          leased.failure.detail,
        );
      }
      if (leased.value.serial === entry.serial && this.#isHere(entry, extent)) {
        return this.#stored(waited, leased.value, entry, extent, client);
      }
      store.release(leased.value);
      if (client.kind === 'box') this.#deps.peerBudget.giveBack();
      return this.#refusals.unavailable(
        'chunk-dropped',
        'proxy_internal_error',
        'a chunk of it was just dropped',
      );
    });
  }

  #stored(
    asked: Asked<FileLocation>,
    open: OpenFile,
    entry: StoredEntry,
    extent: Extent,
    client: Client,
  ): Answer {
    const body: StoredBody = {
      kind: 'stored',
      file: open,
      offset: extent.start,
      length: extent.endInclusive - extent.start + 1,
    };
    const account = this.#account(asked, extent, client, () => this.#deps.store.release(open));
    const age = this.#ageSeconds(entry);
    const { answers, onHit } = this.#deps;
    const answer = answers.content(entry.fileId, extent, 'hit', age, body, account, asked.timing);
    if (onHit !== null && client.kind === 'viewer' && entry.isWhole) {
      onHit(answer, { token: client.token, titleId: asked.location.titleId, file: open });
    }
    return answer;
  }

  async #miss(
    asked: Asked<FileLocation>,
    extent: Extent,
    belonging: Extract<Belonging, { verdict: 'belongs' }>,
    client: Client,
  ): Promise<Answer> {
    const { store, missBody, answers } = this.#deps;
    const { fileId, titleId } = asked.location;
    const entry = store.find(fileId);
    const cache: CacheOutcome = entry === undefined ? 'miss' : 'partial';
    if (asked.request.method === 'HEAD') return this.#head(fileId, extent, entry, cache);
    if (this.#onMiss(belonging) === 'refuse') {
      return this.#refusals.unavailable(
        'not-held',
        'destination_not_found',
        'this box does not hold the file',
      );
    }
    const { sizeBytes, forecastPerDay } = belonging;
    const missed = { fileId, titleId, sizeBytes, forecastPerDay };
    const body = missBody(missed, extent.start, extent.endInclusive);
    const opened = await this.#inTime(body.open());
    const waited = this.#waited(asked, 'src');
    if (opened === 'late') {
      body.close();
      return this.#refusals.unavailable(
        'miss-late',
        'http_response_timeout',
        'no source answered in time',
      );
    }
    if (!opened.ok) {
      return this.#refusals.unavailable(
        opened.failure.code,
        'destination_unavailable',
        opened.failure.detail,
      );
    }
    const account = this.#account(waited, extent, client, () => body.close());
    return answers.content(fileId, extent, cache, 0, body, account, waited.timing);
  }

  #onMiss(belonging: Extract<Belonging, { verdict: 'belongs' }>): OnMiss {
    const { onMiss, onMissByClass } = this.#deps;
    const { titleClass } = belonging;
    return (titleClass === undefined ? undefined : onMissByClass[titleClass]) ?? onMiss;
  }

  /** Another box, under its grant: what is here, or 404. */
  #box(
    asked: Asked,
    verdict: Awaited<ReturnType<GrantVerdicts['verify']>>,
  ): Answer | Promise<Answer> {
    const { answers, store, listingText } = this.#deps;
    if (!verdict.ok) {
      if (verdict.refusal === 'busy') return this.#refusals.peerBudgetSpent();
      return this.#refusals.denied(verdict.refusal, wordsOf(verdict.refusal));
    }
    const { request, location } = asked;
    const client = { kind: 'box', applianceId: verdict.grant.sub } as const;
    const denial = denialOf(this.#deps.denials.current, client, location);
    if (denial !== null) return this.#refusals.forbidden(denial);
    const isHead = request.method === 'HEAD';
    const absent = (): Answer =>
      this.#refusals.unavailable('not-held', 'destination_not_found', 'this box does not hold it');
    const account = new BoxAccount(this.#deps, location, client, () => {});
    if (!isOfFile(asked)) {
      const text = listingText(location.titleId);
      if (text === null) return absent();
      return answers.document(Buffer.from(text, 'latin1'), 'application/jose', isHead, account);
    }
    const entry = store.find(asked.location.fileId);
    if (entry === undefined) return absent();
    if (location.resource === 'chunks') return this.#chunkList(entry, isHead, absent, account);
    const decided = this.#extent(request, entry.fileId, entry.sizeBytes);
    if ('status' in decided) return decided;
    if (!this.#isHere(entry, decided)) return absent();
    if (isHead) return this.#head(entry.fileId, decided, entry, 'hit');
    if (!this.#deps.peerBudget.take()) return this.#refusals.peerBudgetSpent();
    return this.#hit(asked, entry, decided, client);
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
    return this.#deps.answers.content(fileId, extent, cache, age, null, NO_ACCOUNT, '');
  }

  #account(
    asked: Asked<FileLocation>,
    extent: Extent,
    client: Client,
    release: () => void,
  ): Account {
    if (client.kind === 'box') {
      return new BoxAccount(this.#deps, asked.location, client, () => {
        this.#deps.peerBudget.giveBack();
        release();
      });
    }
    this.#deps.onServed(asked.location.fileId, Math.floor(extent.start / CHUNK_BYTES));
    return new ViewerAccount(this.#deps, asked, client, extent.start === 0, release);
  }

  /** What was waited for, in the words of Server-Timing, from the request's beginning on. */
  #waited<Location extends ContentLocation>(asked: Asked<Location>, what: string): Asked<Location> {
    const elapsedMs = (this.#deps.clock.monotonicMs() - asked.startMs).toFixed(1);
    const timing = `${what};dur=${elapsedMs}`;
    return { ...asked, timing: asked.timing === '' ? timing : `${asked.timing}, ${timing}` };
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

/** What a box reads that is refused: what to do about it. */
function wordsOf(refusal: string): string {
  return refusal.startsWith('possession-')
    ? `a fill grant is good here only with a fresh ${POSSESSION_HEADER} for this box, by the key that the grant names`
    : 'this fill grant is not accepted';
}

function isOfFile(asked: Asked): asked is Asked<FileLocation> {
  return asked.location.fileId !== null;
}

function bearerOf(authorization: string | undefined): string | null {
  const match = authorization === undefined ? null : /^Bearer +(\S+)$/i.exec(authorization);
  return match === null ? null : match[1];
}

/** What outlives the call: the sender may use its own view again (sender.ts). */
function keep<Location extends ContentLocation>(asked: Asked<Location>): Asked<Location> {
  return { ...asked, request: { ...asked.request } };
}
