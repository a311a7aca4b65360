/**
 * What the playback service asks its neighbours: listings of the control plane, URLs of steering, segment indexes of the CDN itself.
 *
 * Errors: Failures whose `code` the server turns into a status: unknown-title, not-available, not-playable, steering-gone,
 *         catalogue-gone, index-unreadable
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LRUCache } from 'lru-cache';
import { Agent, request } from 'undici';
import type { Clock } from '#base/clock.ts';
import { callJson } from '#base/io/http-client.ts';
import { failed, messageOf, success, type Failure, type Outcome } from '#base/outcome.ts';
import {
  checkPlayAnswer,
  type PlayAnswer,
  type PlayRequest,
  type PlayUrl,
} from '#steering/contract.ts';
import type { PlaybackConfig } from '../config.ts';
import { checkTitleListing, etagOf, type FileEntry, type TitleListing } from '../contract.ts';
import { parseSidx, type SegmentIndex } from '../encoder/segment-index.ts';

const CALL_DEADLINE_MS = 3000;
const INDEX_DEADLINE_MS = 4000;
const INDEX_BYTES_MAX = 4 * 1024 * 1024; // a sidx has at most 65,535 references of 12 bytes

export class PlaybackSources {
  readonly #config: PlaybackConfig;
  readonly #clock: Clock;
  readonly #agent = new Agent({ connections: 8, headersTimeout: INDEX_DEADLINE_MS });
  readonly #listings = new Map<string, { listing: TitleListing; atMs: number }>();
  readonly #indexes: LRUCache<string, SegmentIndex>;

  constructor(config: PlaybackConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
    this.#indexes = new LRUCache({ max: config.indexesMax });
    mkdirSync(path.join(config.stateDir, 'listings'), { recursive: true });
  }

  /** The listing, at most `listingMaxAgeMs` old; the last one seen where the control plane is gone. */
  async listing(titleId: string): Promise<Outcome<TitleListing>> {
    const known = this.#listings.get(titleId);
    const nowMs = this.#clock.monotonicMs();
    if (known !== undefined && nowMs - known.atMs < this.#config.listingMaxAgeMs) {
      return success(known.listing);
    }
    const outcome = await callJson({
      method: 'GET',
      url: `${this.#config.controlPlaneUrl}/v1/titles/${titleId}`,
      deadlineMs: CALL_DEADLINE_MS,
    });
    if (outcome.ok && outcome.value.status === 404) {
      return failed(problem('unknown-title', 'never', `title ${titleId} is not in the catalogue`));
    }
    const checked =
      outcome.ok && outcome.value.status === 200 ? checkTitleListing(outcome.value.body) : null;
    if (checked !== null && checked.ok) {
      this.#remember(checked.value, nowMs);
      return checked;
    }
    const kept = known?.listing ?? this.#lastSeen(titleId);
    if (kept !== null) return success(kept);
    const why = outcome.ok ? `status ${outcome.value.status}` : outcome.failure.detail;
    return failed(
      problem(
        'catalogue-gone',
        'same-source',
        `the catalogue does not answer (${why}) and title ${titleId} was never seen`,
      ),
    );
  }

  async play(ask: PlayRequest): Promise<Outcome<PlayAnswer>> {
    const outcome = await callJson({
      method: 'POST',
      url: `${this.#config.steeringUrl}/v1/play`,
      body: ask,
      bearer: this.#config.steeringToken,
      deadlineMs: CALL_DEADLINE_MS,
    });
    if (!outcome.ok) {
      return failed(
        problem(
          'steering-gone',
          'same-source',
          `steering does not answer: ${outcome.failure.detail}`,
        ),
      );
    }
    const { status, body } = outcome.value;
    if (status !== 200) {
      const words = wordsOf(body);
      const code =
        status === 403 ? 'not-available' : status === 404 ? 'unknown-title' : 'steering-gone';
      return failed(problem(code, 'never', `steering refused (${status}): ${words}`));
    }
    const checked = checkPlayAnswer(body);
    if (checked.ok) return checked;
    return failed(
      problem(
        'steering-gone',
        'never',
        `steering's answer is not valid: ${checked.failure.join('; ')}`,
      ),
    );
  }

  /** The segment index of a file, read by range from any of its URLs, the origin's first; files never change, so it is kept. */
  async index(file: FileEntry, urls: readonly PlayUrl[]): Promise<Outcome<SegmentIndex>> {
    const known = this.#indexes.get(file.fileId);
    if (known !== undefined) return success(known);
    if (file.index === undefined) {
      return failed(
        problem(
          'not-playable',
          'never',
          `file ${file.fileId} is ${file.kind}: it has no segment index`,
        ),
      );
    }
    const { sidxStart, sidxEndInclusive } = file.index;
    if (sidxEndInclusive - sidxStart >= INDEX_BYTES_MAX) {
      return failed(
        problem(
          'index-unreadable',
          'never',
          `the index of ${file.fileId} is larger than ${INDEX_BYTES_MAX} bytes`,
        ),
      );
    }
    const reasons: string[] = [];
    const originFirst = [...urls].sort(
      (a, b) => Number(b.kind === 'origin') - Number(a.kind === 'origin'),
    );
    for (const { url, pathwayId } of originFirst) {
      const read = await this.#readRange(file, url, sidxStart, sidxEndInclusive);
      const parsed = read.ok ? parseSidx(read.value, sidxStart, file.sizeBytes) : null;
      if (parsed !== null && parsed.ok) {
        this.#indexes.set(file.fileId, parsed.value);
        return parsed;
      }
      reasons.push(
        `${pathwayId}: ${parsed === null ? (read.ok ? '' : read.failure.detail) : parsed.failure}`,
      );
    }
    return failed(
      problem(
        'index-unreadable',
        'same-source',
        `no source gave the index of ${file.fileId}: ${reasons.join('; ')}`,
      ),
    );
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #readRange(
    file: FileEntry,
    url: string,
    start: number,
    endInclusive: number,
  ): Promise<Outcome<Buffer>> {
    try {
      const answer = await request(url, {
        dispatcher: this.#agent,
        headers: { range: `bytes=${start}-${endInclusive}` },
        signal: AbortSignal.timeout(INDEX_DEADLINE_MS),
      });
      const isWhatWasAsked =
        answer.statusCode === 206 &&
        answer.headers.etag === etagOf(file.fileId) &&
        answer.headers['content-range'] === `bytes ${start}-${endInclusive}/${file.sizeBytes}`;
      if (!isWhatWasAsked) {
        answer.body.destroy();
        return failed(
          problem('bad-range', 'another-source', `answered ${answer.statusCode} to a range`),
        );
      }
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > endInclusive - start + 1) break;
        parts.push(part);
      }
      return success(Buffer.concat(parts));
    } catch (thrown) {
      return failed(problem('unreachable', 'another-source', messageOf(thrown), thrown));
    }
  }

  #remember(listing: TitleListing, atMs: number): void {
    const before = this.#listings.get(listing.titleId)?.listing.version;
    this.#listings.set(listing.titleId, { listing, atMs });
    if (before === listing.version) return;
    const file = this.#listingFile(listing.titleId);
    writeFileSync(`${file}.tmp`, JSON.stringify(listing));
    renameSync(`${file}.tmp`, file);
  }

  #lastSeen(titleId: string): TitleListing | null {
    try {
      const checked = checkTitleListing(
        JSON.parse(readFileSync(this.#listingFile(titleId), 'utf8')),
      );
      return checked.ok ? checked.value : null;
    } catch {
      return null;
    }
  }

  #listingFile(titleId: string): string {
    return path.join(this.#config.stateDir, 'listings', `${titleId}.json`);
  }
}

function problem(code: string, retry: Failure['retry'], detail: string, cause?: unknown): Failure {
  return { code, source: 'upstream', retry, detail, cause };
}

function wordsOf(body: unknown): string {
  if (typeof body === 'object' && body !== null && 'message' in body) return String(body.message);
  return JSON.stringify(body);
}
