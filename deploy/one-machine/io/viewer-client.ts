/**
 * A viewer's download, as careful as a good player: ranges from ranked URLs, continued at the next missing byte on the
 * next URL when a box fails, spliced only when ETag and Content-Range say that it is the same file.
 *
 * Invariants: (1) bytes reach the sink in order, each exactly once
 *             (2) a byte is taken only from an answer whose ETag is the fileId and whose Content-Range is what was asked for
 *             (3) a URL that failed is tried again only after all the others
 */
import { Agent, request } from 'undici';
import { systemClock, sleep } from '#base/clock.ts';
import { codeOf, messageOf } from '#base/outcome.ts';
import type { PlayUrl } from '#steering/contract.ts';
import { etagOf, type FileId } from '#upstream/contract.ts';

const HEADERS_TIMEOUT_MS = 4_000;
const BODY_TIMEOUT_MS = 4_000;
const ROUNDS_MAX = 2; // over the whole list of URLs

export interface Download {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly urls: readonly PlayUrl[];
  readonly start: number;
  readonly endInclusive: number;
}

export interface Switch {
  readonly from: string; // pathwayId
  readonly to: string;
  readonly why: string;
  readonly atByte: number;
  readonly lastByteAtMs: number; // monotonic: the last good byte before, or the request where there was none
  readonly resumedAtMs: number;
}

export class ViewerClient {
  readonly #agent: Agent;
  readonly #rateBytesPerSecond: number;
  #dueMs = 0;

  constructor(options: { localAddress?: string; rateBytesPerSecond: number }) {
    this.#rateBytesPerSecond = options.rateBytesPerSecond;
    this.#agent = new Agent({
      connections: 2,
      pipelining: 1,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: BODY_TIMEOUT_MS,
      connect: {
        timeout: 2_000,
        ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
      },
    });
  }

  /** Downloads [start, endInclusive]. Returns the switches that it took. Throws when every URL failed twice, with each reason. */
  async download(
    wanted: Download,
    sink: (bytes: Buffer, pathwayId: string) => void,
    signal?: AbortSignal,
  ): Promise<readonly Switch[]> {
    const switches: Switch[] = [];
    const reasons: string[] = [];
    let next = wanted.start;
    let broke: { from: string; why: string; lastByteAtMs: number } | null = null;
    let lastByteAtMs = systemClock.monotonicMs();
    for (let attempt = 0; attempt < wanted.urls.length * ROUNDS_MAX; attempt++) {
      const { url, pathwayId } = wanted.urls[attempt % wanted.urls.length];
      try {
        await this.#receive(wanted, url, next, signal, (bytes) => {
          if (broke !== null) {
            switches.push({
              from: broke.from,
              to: pathwayId,
              why: broke.why,
              atByte: next,
              lastByteAtMs: broke.lastByteAtMs,
              resumedAtMs: systemClock.monotonicMs(),
            });
            broke = null;
          }
          next += bytes.length;
          lastByteAtMs = systemClock.monotonicMs();
          sink(bytes, pathwayId);
        });
        if (next === wanted.endInclusive + 1) return switches;
        throw new Error(`the body ended ${wanted.endInclusive + 1 - next} bytes early`);
      } catch (thrown) {
        if (signal?.aborted === true) throw thrown;
        const why = codeOf(thrown) || messageOf(thrown);
        reasons.push(`${pathwayId} at byte ${next}: ${why}`);
        broke ??= { from: pathwayId, why, lastByteAtMs };
      }
    }
    throw new Error(
      `no URL gave bytes ${next}-${wanted.endInclusive} of ${wanted.fileId}: ${reasons.join('; ')}`,
    );
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #receive(
    wanted: Download,
    url: string,
    start: number,
    signal: AbortSignal | undefined,
    take: (bytes: Buffer) => void,
  ): Promise<void> {
    const answer = await request(url, {
      dispatcher: this.#agent,
      method: 'GET',
      headers: { range: `bytes=${start}-${wanted.endInclusive}` },
      ...(signal === undefined ? {} : { signal }),
    });
    const expected = `bytes ${start}-${wanted.endInclusive}/${wanted.sizeBytes}`;
    const { etag } = answer.headers;
    const contentRange = answer.headers['content-range'];
    if (answer.statusCode !== 206 || etag !== etagOf(wanted.fileId) || contentRange !== expected) {
      const refused = String(
        answer.headers['nightfill-refused'] ?? answer.headers['proxy-status'] ?? '',
      );
      answer.body.on('error', () => {}); // that it was given up on is no news to anybody
      answer.body.destroy();
      throw new Error(
        `${answer.statusCode} ${refused} etag ${String(etag)} content-range ${String(contentRange)}`,
      );
    }
    for await (const bytes of answer.body as AsyncIterable<Buffer>) {
      take(bytes);
      await this.#pace(bytes.length);
    }
  }

  async #pace(bytes: number): Promise<void> {
    const nowMs = systemClock.monotonicMs();
    this.#dueMs = Math.max(this.#dueMs, nowMs) + (bytes / this.#rateBytesPerSecond) * 1000;
    const aheadMs = this.#dueMs - nowMs;
    if (aheadMs > 5) await sleep(systemClock, aheadMs);
  }
}
