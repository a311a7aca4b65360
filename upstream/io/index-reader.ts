/**
 * Reads the segment index of a file by range, from any URL of it. Files never change: an index is read once and kept.
 *
 * Errors:     `index-unreadable` with what each source answered
 * Invariants: (1) what is taken is exactly the range asked for, of the file with that id, and covers the file to its end
 *             (2) one reading per file at a time, READINGS_MAX in all; memory is bounded
 */
import { LRUCache } from 'lru-cache';
import { Agent, request } from 'undici';
import { failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import type { PlayUrl } from '#steering/contract.ts';
import { etagOf, type FileId } from '../contract.ts';
import { HEAD_BYTES_MAX } from '../encoder/cmaf.ts';
import { parseSidx, type SegmentIndex } from '../encoder/segment-index.ts';
import type { StreamFile } from '../playback/tracks.ts';

const DEADLINE_MS = 4000;
const READINGS_MAX = 32;
const READINGS_WAITING_MAX = 1000;

export class IndexReader {
  readonly #agent = new Agent({ connections: 8, headersTimeout: DEADLINE_MS });
  readonly #indexes: LRUCache<FileId, SegmentIndex>;
  readonly #reading = new Map<FileId, Promise<Outcome<SegmentIndex>>>();
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(indexesMax: number) {
    this.#indexes = new LRUCache({ max: indexesMax });
  }

  /** The origin is asked first: it holds every file, and boxes need not spend a viewer's bytes on it. */
  read(file: StreamFile, urls: readonly PlayUrl[]): Promise<Outcome<SegmentIndex>> {
    const known = this.#indexes.get(file.fileId);
    if (known !== undefined) return Promise.resolve(success(known));
    const underWay = this.#reading.get(file.fileId);
    if (underWay !== undefined) return underWay;
    const sources = urls.toSorted(
      (a, b) => Number(b.kind === 'origin') - Number(a.kind === 'origin'),
    );
    const reading = this.#readFrom(file, sources).finally(() => this.#reading.delete(file.fileId));
    this.#reading.set(file.fileId, reading);
    return reading;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #readFrom(file: StreamFile, sources: readonly PlayUrl[]): Promise<Outcome<SegmentIndex>> {
    if (this.#active >= READINGS_MAX) {
      if (this.#waiting.length >= READINGS_WAITING_MAX) {
        return unreadable(file, ['too many other files are being read']);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#active++;
    try {
      const reasons: string[] = [];
      for (const { pathwayId, url } of sources) {
        const index = await this.#readOne(file, url);
        if (index.ok) {
          this.#indexes.set(file.fileId, index.value);
          return index;
        }
        reasons.push(`${pathwayId}: ${index.failure}`);
      }
      return unreadable(file, reasons);
    } finally {
      this.#active--;
      this.#waiting.shift()?.();
    }
  }

  async #readOne(file: StreamFile, url: string): Promise<Outcome<SegmentIndex, string>> {
    const { sidxStart, sidxEndInclusive } = file.index;
    const wantedBytes = sidxEndInclusive - sidxStart + 1;
    if (wantedBytes < 1 || wantedBytes > HEAD_BYTES_MAX) {
      return { ok: false, failure: `its listing says the index has ${wantedBytes} bytes` };
    }
    try {
      const answer = await request(url, {
        dispatcher: this.#agent,
        headers: { range: `bytes=${sidxStart}-${sidxEndInclusive}` },
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      const { etag, 'content-range': range } = answer.headers;
      const isWhatWasAsked =
        answer.statusCode === 206 &&
        etag === etagOf(file.fileId) &&
        range === `bytes ${sidxStart}-${sidxEndInclusive}/${file.sizeBytes}`;
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        bytes += part.length;
        // An error's words are short; anything longer than the range is not the range.
        if (bytes > wantedBytes) break;
        parts.push(part);
      }
      if (!isWhatWasAsked || bytes !== wantedBytes) {
        return { ok: false, failure: `it answered ${answer.statusCode} to the range` };
      }
      return checkedIndex(Buffer.concat(parts), file);
    } catch (thrown) {
      return { ok: false, failure: messageOf(thrown) };
    }
  }
}

function checkedIndex(sidx: Buffer, file: StreamFile): Outcome<SegmentIndex, string> {
  const index = parseSidx(sidx, file.index.sidxStart, file.sizeBytes);
  if (!index.ok) return index;
  const last = index.value.segments[index.value.segments.length - 1];
  if (last.start + last.sizeBytes === file.sizeBytes) return index;
  return { ok: false, failure: 'its segments do not end with the file' };
}

function unreadable(file: StreamFile, reasons: readonly string[]): Outcome<SegmentIndex> {
  return failed({
    code: 'index-unreadable',
    source: 'upstream',
    retry: 'same-source',
    detail: `no source gave the segment index of file ${file.fileId}: ${reasons.join('; ')}`,
  });
}
