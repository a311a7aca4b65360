/**
 * Fetches chunks of one file from whoever has them: for the manifest's fill and for a viewer's miss alike.
 *
 * Shape:      (file, first..last, purpose) -> each chunk, verified, in order -> success, or why no source could
 * Invariants: (1) nothing is passed on that was not verified against the file's chunk list
 *             (2) a source whose bytes do not match is blamed by name, and another one goes on from the same chunk
 *             (3) each source is tried at most once per run: the loop ends
 *             (4) a viewer's fetch that failed is tried again only while the retry budget lasts; the fill has time
 */
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import type { FillSource } from '#control-plane/contract.ts';
import {
  decodeChunkList,
  type ChunkList,
  type FetchPurpose,
  type FileId,
  type TitleId,
} from '#upstream/contract.ts';
import { verifyChunk, type VerifiedChunk } from '../store/verified-chunk.ts';
import { RetryBudget } from './retry-budget.ts';
import type { SourceBook } from './source-book.ts';
import type { SourceClient } from './source-client.ts';

export interface FetchedFile {
  readonly fileId: FileId;
  readonly titleId: TitleId;
  readonly list: ChunkList;
}

/** Counts what came from where. */
export interface FetchLedger {
  fetched(purpose: FetchPurpose, kind: FillSource['kind'], bytes: number): void;
  corrupt(): void;
}

export interface ChunkFetcherDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly book: SourceBook;
  readonly client: SourceClient;
  readonly ledger: FetchLedger;
  /** Share of viewers' fetches that may go on at another source after a failure. */
  readonly retryShare: number;
}

type Sink = (chunk: VerifiedChunk, source: FillSource) => Promise<'go-on' | 'stop'>;

export class ChunkFetcher {
  readonly #deps: ChunkFetcherDeps;
  readonly #retries: RetryBudget;

  constructor(deps: ChunkFetcherDeps) {
    this.#deps = deps;
    this.#retries = new RetryBudget(deps.retryShare);
  }

  /** The chunk list of a file that is not here, from the first source that has it. Checked against the id. */
  async chunkList(
    fileId: FileId,
    titleId: TitleId,
    purpose: FetchPurpose,
  ): Promise<Outcome<{ readonly encoded: Buffer; readonly list: ChunkList }>> {
    const { book, client } = this.#deps;
    const problems: string[] = [];
    let isLacking = true;
    for (const source of await this.#sources(fileId, purpose)) {
      const encoded = await client.chunkList(source, titleId, fileId, purpose);
      if (!encoded.ok) {
        problems.push(encoded.failure.detail);
        isLacking &&= encoded.failure.code === 'source-lacks-file';
        this.#noteFailure(source, encoded.failure);
        continue;
      }
      const list = decodeChunkList(encoded.value, fileId);
      if (list.ok) {
        book.note(source, 'ok');
        return success({ encoded: encoded.value, list: list.value });
      }
      this.#blame(source, fileId, `its chunk list is not this file's (${list.failure})`);
      problems.push(`${source.id}: chunk list ${list.failure}`);
      isLacking = false;
    }
    return failed(noSource(fileId, problems, isLacking));
  }

  async run(
    file: FetchedFile,
    first: number,
    last: number,
    purpose: FetchPurpose,
    sink: Sink,
    signal: AbortSignal | null = null,
  ): Promise<Outcome<void>> {
    const problems: string[] = [];
    let isLacking = true;
    let next = first;
    let hasFailed = false;
    if (purpose === 'miss') this.#retries.began();
    const isInterrupted = (): boolean => signal?.aborted === true;
    for (const source of await this.#sources(file.fileId, purpose)) {
      if (isInterrupted()) break;
      if (purpose === 'miss' && hasFailed && !this.#retries.take()) {
        problems.push('too many fetches fail at present: this one is not tried again');
        break;
      }
      let isStopped = false;
      let isCorrupt = false;
      let bytesHere = 0;
      const ended = this.#deps.book.began(source);
      const outcome = await this.#deps.client.chunks(
        { source, titleId: file.titleId, list: file.list, first: next, last, purpose, signal },
        async (index, bytes) => {
          const chunk = await verifyChunk(file.list, index, bytes);
          if (chunk === null) {
            isCorrupt = true;
            return 'stop';
          }
          this.#deps.ledger.fetched(purpose, source.kind, bytes.length);
          bytesHere += bytes.length;
          next = index + 1;
          const verdict = await sink(chunk, source);
          isStopped = verdict === 'stop';
          return verdict;
        },
      );
      ended(bytesHere);
      if (isCorrupt) {
        this.#deps.ledger.corrupt();
        this.#blame(source, file.fileId, `chunk ${next} does not match its hash`);
        problems.push(`${source.id}: chunk ${next} does not match its hash`);
        isLacking = false;
        hasFailed = true;
        continue;
      }
      if (outcome.ok || isStopped) {
        this.#deps.book.note(source, 'ok');
        return success(undefined);
      }
      if (isInterrupted()) {
        problems.push('it was interrupted here');
        break; // says nothing about the source
      }
      this.#noteFailure(source, outcome.failure);
      problems.push(outcome.failure.detail);
      const lacks = outcome.failure.code === 'source-lacks-file';
      isLacking &&= lacks;
      hasFailed ||= !lacks;
    }
    return failed(noSource(file.fileId, problems, isLacking));
  }

  /** Usable sources, in the order in which they are tried. Where none is usable, those with an open breaker are tried all the same. */
  async #sources(fileId: FileId, purpose: FetchPurpose): Promise<readonly FillSource[]> {
    const { book } = this.#deps;
    const { sources } = await book.ranking(fileId, purpose);
    const usable = sources.filter((source) => book.isUsable(source));
    if (usable.length > 0) return book.order(usable);
    const now = this.#deps.clock.monotonicMs();
    return book.order(sources.filter((source) => book.health(source.id).blamedUntilMs <= now));
  }

  /** That a source does not have a file (404) says nothing about its health. */
  #noteFailure(source: FillSource, failure: Failure): void {
    if (failure.code !== 'source-lacks-file') this.#deps.book.note(source, 'failed');
  }

  #blame(source: FillSource, fileId: FileId, why: string): void {
    this.#deps.book.note(source, 'corrupt');
    this.#deps.log.error(
      { event: 'source-blamed', source: source.id, kind: source.kind, fileId },
      `source ${source.id} (${source.baseUrl}) gave bad bytes of ${fileId}: ${why}; it is left out`,
    );
  }
}

/** `isLacking`: each source that was asked said that it does not have the file, and nothing else was wrong. */
function noSource(fileId: FileId, problems: readonly string[], isLacking: boolean): Failure {
  return {
    code: problems.length > 0 && isLacking ? 'nobody-has-it' : 'no-source',
    source: 'upstream',
    retry: 'another-source',
    detail: `no source gave ${fileId}: ${problems.length === 0 ? 'none is known' : problems.join('; ')}`,
  };
}
