/**
 * One source over HTTP: undici, a pool per source and purpose, deadlines and limits on everything that is read.
 *
 * Two sets of pools, so that the night's fill never takes a connection that a viewer's miss waits for.
 */
import { Agent, request } from 'undici';
import { networkFailure } from '#base/io/http-client.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { POSSESSION_HEADER, type FillSource } from '#control-plane/contract.ts';
import {
  CHUNK_BYTES,
  chunkLengthOf,
  chunkListBytesOf,
  chunkListPath,
  contentPath,
  etagOf,
  FILE_BYTES_MAX,
  LISTING_BYTES_MAX,
  listingPath,
  PURPOSE_HEADER,
  type FetchPurpose,
  type FileId,
  type TitleId,
} from '#upstream/contract.ts';
import type { ChunkRun, SourceClient } from '../fill/source-client.ts';

const SIGNED_LISTING_BYTES_MAX = LISTING_BYTES_MAX * 2; // base64 and a signature

export interface SourceClientOptions {
  readonly grant: () => string | null;
  /** For one source, that this box holds the key of its grant; signed anew each half minute. */
  readonly possession: (sourceId: string) => Promise<string>;
  readonly connectMsMax: number;
  readonly headersMsMax: number;
  readonly stallMsMax: number; // without a byte
  readonly chunkMsMax: number; // for one chunk: a source that drips is left
  readonly connectionsPerSource: number;
}

export const SOURCE_CLIENT_DEFAULTS = {
  connectMsMax: 2000,
  headersMsMax: 5000,
  stallMsMax: 5000,
  chunkMsMax: 20_000,
  connectionsPerSource: 32,
} as const;

type Headers = Record<string, string | string[] | undefined>;

export class HttpSourceClient implements SourceClient {
  readonly #options: SourceClientOptions;
  readonly #agents: Record<FetchPurpose, Agent>;

  constructor(options: SourceClientOptions) {
    this.#options = options;
    const agent = (): Agent =>
      new Agent({
        connections: options.connectionsPerSource,
        pipelining: 1,
        connect: { timeout: options.connectMsMax },
        headersTimeout: options.headersMsMax,
        bodyTimeout: options.stallMsMax,
        keepAliveTimeout: 30_000,
      });
    this.#agents = { fill: agent(), miss: agent() };
  }

  chunkList(
    source: FillSource,
    titleId: TitleId,
    fileId: FileId,
    purpose: FetchPurpose,
  ): Promise<Outcome<Buffer>> {
    const path = chunkListPath(titleId, fileId);
    return this.#document(source, path, purpose, chunkListBytesOf(FILE_BYTES_MAX));
  }

  async listing(source: FillSource, titleId: TitleId): Promise<Outcome<string>> {
    const path = listingPath(titleId);
    const outcome = await this.#document(source, path, 'miss', SIGNED_LISTING_BYTES_MAX);
    return outcome.ok ? success(outcome.value.toString('latin1')) : outcome;
  }

  async chunks(
    run: ChunkRun,
    onChunk: (index: number, bytes: Buffer) => Promise<'go-on' | 'stop'>,
  ): Promise<Outcome<void>> {
    const { source, list, first, last } = run;
    const start = first * CHUNK_BYTES;
    const end = last * CHUNK_BYTES + chunkLengthOf(list, last) - 1;
    const what = `${source.id} ${contentPath(run.titleId, list.fileId)} bytes ${start}-${end}`;
    const abort = new AbortController();
    const signal = run.signal === null ? abort.signal : AbortSignal.any([abort.signal, run.signal]);
    let dripTimer: NodeJS.Timeout | null = null;
    const armDrip = (): void => {
      if (dripTimer !== null) clearTimeout(dripTimer);
      dripTimer = setTimeout(
        () => abort.abort(new DOMException('a chunk took too long', 'TimeoutError')),
        this.#options.chunkMsMax,
      );
    };
    try {
      const answer = await request(`${source.baseUrl}${contentPath(run.titleId, list.fileId)}`, {
        dispatcher: this.#agents[run.purpose],
        headers: {
          ...(await this.#headers(run.purpose, source.id)),
          range: `bytes=${start}-${end}`,
        },
        signal,
      });
      const refusal = rangeRefusal(answer.statusCode, answer.headers, { what, run, start, end });
      if (refusal !== null) {
        answer.body.on('error', () => {}).destroy();
        return failed(refusal);
      }
      let index = first;
      let chunk = Buffer.allocUnsafeSlow(chunkLengthOf(list, index));
      let filled = 0;
      armDrip();
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        let at = 0;
        while (at < part.length) {
          if (index > last) return failed(misbehaved(what, 'more bytes than were asked for'));
          const taken = Math.min(part.length - at, chunk.length - filled);
          part.copy(chunk, filled, at, at + taken);
          at += taken;
          filled += taken;
          if (filled < chunk.length) continue;
          const verdict = await onChunk(index, chunk);
          if (verdict === 'stop') return success(undefined);
          armDrip();
          index++;
          if (index <= last) chunk = Buffer.allocUnsafeSlow(chunkLengthOf(list, index));
          filled = 0;
        }
      }
      if (index <= last)
        return failed(misbehaved(what, `a short body: it ended in chunk ${index}`));
      return success(undefined);
    } catch (thrown) {
      return failed(networkFailure(what, abort.signal.aborted ? abort.signal.reason : thrown));
    } finally {
      if (dripTimer !== null) clearTimeout(dripTimer);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#agents.fill.destroy(), this.#agents.miss.destroy()]);
  }

  async #document(
    source: FillSource,
    path: string,
    purpose: FetchPurpose,
    bytesMax: number,
  ): Promise<Outcome<Buffer>> {
    const what = `${source.id} ${path}`;
    try {
      const answer = await request(`${source.baseUrl}${path}`, {
        dispatcher: this.#agents[purpose],
        headers: await this.#headers(purpose, source.id),
        signal: AbortSignal.timeout(this.#options.chunkMsMax),
      });
      if (answer.statusCode !== 200) {
        answer.body.on('error', () => {}).destroy();
        return failed(statusFailure(what, answer.statusCode, answer.headers));
      }
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > bytesMax) return failed(misbehaved(what, `more than ${bytesMax} bytes`));
        parts.push(part);
      }
      return success(Buffer.concat(parts));
    } catch (thrown) {
      return failed(networkFailure(what, thrown));
    }
  }

  async #headers(purpose: FetchPurpose, sourceId: string): Promise<Record<string, string>> {
    const grant = this.#options.grant();
    const headers: Record<string, string> = { [PURPOSE_HEADER]: purpose };
    if (grant !== null) {
      headers['authorization'] = `Bearer ${grant}`;
      headers[POSSESSION_HEADER] = await this.#options.possession(sourceId);
    }
    return headers;
  }
}

interface Expected {
  readonly what: string;
  readonly run: ChunkRun;
  readonly start: number;
  readonly end: number;
}

/** Why an answer to a range request is not read at all; null where its head is what was asked for. */
function rangeRefusal(status: number, headers: Headers, expected: Expected): Failure | null {
  const { what, run, start, end } = expected;
  const { sizeBytes, fileId } = run.list;
  const isWholeFile = start === 0 && end === sizeBytes - 1;
  if (status !== 206 && !(status === 200 && isWholeFile)) {
    if (status === 200) return misbehaved(what, '200 for a range: it would send the whole file');
    return statusFailure(what, status, headers);
  }
  const etag = headers['etag'];
  if (etag !== undefined && etag !== etagOf(fileId)) {
    return misbehaved(what, `ETag ${String(etag)} is another file's`);
  }
  if (status === 206 && headers['content-range'] !== `bytes ${start}-${end}/${sizeBytes}`) {
    return misbehaved(what, `Content-Range ${String(headers['content-range'])}`);
  }
  return null;
}

function misbehaved(what: string, why: string): Failure {
  return {
    code: 'source-misbehaved',
    source: 'upstream',
    retry: 'another-source',
    detail: `${what}: ${why}`,
  };
}

function statusFailure(what: string, status: number, headers: Headers): Failure {
  const said = headers['nightfill-refused'] ?? headers['proxy-status'];
  const why = said === undefined ? `${status}` : `${status} (${String(said)})`;
  const code = status === 404 ? 'source-lacks-file' : `source-status-${status}`;
  return { code, source: 'upstream', retry: 'another-source', detail: `${what}: ${why}` };
}
