/**
 * Answers of the content listener: their fields, and who is told what was sent.
 *
 * Source: RFC 9110 (ranges, conditionals), RFC 9111, RFC 9211 (Cache-Status), RFC 9209 (Proxy-Status), Fetch (CORS)
 */
import { etagOf, type FileId } from '#upstream/contract.ts';
import { FieldSet, type Answer, type Body, type Ending } from './sender.ts';

const CORS = [
  'Access-Control-Allow-Origin',
  '*',
  'Access-Control-Expose-Headers',
  'Content-Length, Content-Range, Accept-Ranges, ETag, Date, Age, Cache-Status, CMSD-Static, CMSD-Dynamic, Server-Timing, Proxy-Status, Retry-After',
  'Timing-Allow-Origin',
  '*',
  'Cross-Origin-Resource-Policy',
  'cross-origin',
];

const PREFLIGHT = new FieldSet([
  ...CORS,
  'Access-Control-Allow-Methods',
  'GET, HEAD, OPTIONS',
  'Access-Control-Allow-Headers',
  'Range, If-Range, If-None-Match, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, CTA-Common-Access-Token',
  'Access-Control-Max-Age',
  '86400',
]);

const REFUSAL = [...CORS, 'Cache-Control', 'no-store', 'Content-Type', 'text/plain; charset=utf-8'];

/** Told what an answer really sent, and that it ended. */
export interface Account {
  isWithdrawn(): boolean;
  sent(bytes: number): void;
  ended(how: Ending): void;
}

export const NO_ACCOUNT: Account = { isWithdrawn: () => false, sent: () => {}, ended: () => {} };

class PlainAnswer implements Answer {
  readonly status: number;
  readonly constant: FieldSet;
  readonly varying: readonly string[];
  readonly contentLength: number | null;
  readonly body: Body | null;
  readonly #account: Account;

  constructor(
    status: number,
    constant: FieldSet,
    varying: readonly string[],
    contentLength: number | null,
    body: Body | null,
    account: Account,
  ) {
    this.status = status;
    this.constant = constant;
    this.varying = varying;
    this.contentLength = contentLength;
    this.body = body;
    this.#account = account;
  }

  isWithdrawn(): boolean {
    return this.#account.isWithdrawn();
  }

  sent(bytes: number): void {
    this.#account.sent(bytes);
  }

  ended(how: Ending): void {
    this.#account.ended(how);
  }
}

/** What is served of a file: all of it, or one range. */
export interface Extent {
  readonly start: number;
  readonly endInclusive: number;
  readonly sizeBytes: number;
  readonly isPart: boolean; // 206, with Content-Range
}

export type CacheOutcome = 'hit' | 'miss' | 'partial';

export class Answers {
  readonly #applianceId: string;
  readonly #content: Readonly<Record<CacheOutcome, FieldSet>>;
  readonly #document: FieldSet;
  readonly #refusal: FieldSet;

  constructor(applianceId: string) {
    this.#applianceId = applianceId;
    const content = (cacheStatus: string, timing: string): FieldSet =>
      new FieldSet([
        'Content-Type',
        'video/mp4',
        'Accept-Ranges',
        'bytes',
        'Cache-Control',
        'public, max-age=31536000, immutable, no-transform',
        ...CORS,
        'Cache-Status',
        `${applianceId}; ${cacheStatus}`,
        'Server-Timing',
        `cache;desc=${timing}`,
      ]);
    this.#content = {
      hit: content('hit', 'hit'),
      miss: content('fwd=uri-miss; fwd-status=206', 'miss'),
      partial: content('fwd=partial; fwd-status=206', 'partial'),
    };
    this.#document = new FieldSet([...CORS, 'Cache-Control', 'private, max-age=60']);
    this.#refusal = new FieldSet(REFUSAL);
  }

  preflight(): Answer {
    return new PlainAnswer(204, PREFLIGHT, [], null, null, NO_ACCOUNT);
  }

  content(
    fileId: FileId,
    extent: Extent,
    cache: CacheOutcome,
    ageSeconds: number,
    body: Body | null,
    account: Account,
    timing: string,
  ): Answer {
    const varying = ['ETag', etagOf(fileId), 'Age', String(ageSeconds)];
    if (timing !== '') varying.push('Server-Timing', timing);
    if (extent.isPart) {
      varying.push(
        'Content-Range',
        `bytes ${extent.start}-${extent.endInclusive}/${extent.sizeBytes}`,
      );
    }
    const length = extent.endInclusive - extent.start + 1;
    return new PlainAnswer(
      extent.isPart ? 206 : 200,
      this.#content[cache],
      varying,
      length,
      body,
      account,
    );
  }

  notModified(fileId: FileId): Answer {
    return new PlainAnswer(
      304,
      this.#content.hit,
      ['ETag', etagOf(fileId)],
      null,
      null,
      NO_ACCOUNT,
    );
  }

  unsatisfiable(sizeBytes: number): Answer {
    const text = `416: this file has ${sizeBytes} bytes`;
    return this.#text(416, text, [
      'Content-Range',
      `bytes */${sizeBytes}`,
      'Accept-Ranges',
      'bytes',
    ]);
  }

  /** A small document for other boxes: a chunk list, a signed listing. */
  document(bytes: Uint8Array, contentType: string, isHead: boolean, account: Account): Answer {
    const body = isHead ? null : ({ kind: 'bytes', bytes } as const);
    const varying = ['Content-Type', contentType];
    return new PlainAnswer(200, this.#document, varying, bytes.length, body, account);
  }

  /** 403: the word is in the Nightfill-Refused field, in the log's counters and here. */
  denied(word: string, detail: string): Answer {
    return this.#text(403, `${word}: ${detail}`, [
      'Nightfill-Refused',
      word,
      'Proxy-Status',
      `${this.#applianceId}; error=http_request_denied; details="${word}"`,
    ]);
  }

  /** 404-class: a player leaves it for the next URL at once, where a 503 would hold it for a minute. */
  unavailable(error: string, detail: string): Answer {
    return this.#text(404, detail, [
      'Proxy-Status',
      `${this.#applianceId}; error=${error}; details="${quotable(detail)}"`,
    ]);
  }

  notFound(): Answer {
    return this.#text(404, 'no such path: content lives at /t/<titleId>/<fileId>', []);
  }

  methodNotAllowed(): Answer {
    return this.#text(405, 'only GET, HEAD and OPTIONS', ['Allow', 'GET, HEAD, OPTIONS']);
  }

  preconditionFailed(fileId: FileId): Answer {
    return this.#text(412, 'If-Match names another version; this file never changes', [
      'ETag',
      etagOf(fileId),
    ]);
  }

  /** For other boxes only: they ask the next source and come back. */
  peerBudgetSpent(): Answer {
    return this.#text(429, 'the budget for other boxes is spent: ask another source', [
      'Retry-After',
      '1',
    ]);
  }

  #text(status: number, text: string, varying: readonly string[]): Answer {
    const bytes = Buffer.from(`${text}\n`);
    return new PlainAnswer(
      status,
      this.#refusal,
      varying,
      bytes.length,
      { kind: 'bytes', bytes },
      NO_ACCOUNT,
    );
  }
}

/** What fits into a structured-field string (RFC 8941 3.3.3). */
function quotable(text: string): string {
  return text.replace(/[^\x20-\x7e]|["\\]/g, ' ').slice(0, 200);
}
