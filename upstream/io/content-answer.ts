/**
 * Writes the origin's answers: a file by range, or a short text that says what is wrong and what to do.
 *
 * Invariants: every answer carries the CORS headers; a refusal is never cached
 * Source:     RFC 9110 15.3.7, 15.5.17; Fetch standard (CORS)
 */
import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { codeOf, messageOf } from '#base/outcome.ts';
import { decideAnswer, type FileAnswer } from '../origin/answer.ts';

const SEND_PIECE_BYTES = 256 * 1024;
export const CORS_HEADERS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers':
    'Content-Length, Content-Range, Accept-Ranges, ETag, Date, Age, Cache-Status, CMSD-Static, CMSD-Dynamic, Server-Timing, Proxy-Status, Retry-After, Nightfill-Refused',
  'Timing-Allow-Origin': '*',
  'Cross-Origin-Resource-Policy': 'cross-origin',
};
export const PREFLIGHT_HEADERS = {
  ...CORS_HEADERS,
  'Access-Control-Allow-Methods': 'GET, HEAD, OPTIONS',
  'Access-Control-Allow-Headers':
    'Range, If-Range, If-None-Match, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, CTA-Common-Access-Token',
  'Access-Control-Max-Age': '86400',
};
const IMMUTABLE = 'public, max-age=31536000, immutable, no-transform';

export interface Sendable {
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly contentType: string;
}

/** Answers a GET or HEAD of one file. Resolves to null, or to what broke while sending (a client that left is nothing). */
export async function answerFile(
  asked: IncomingMessage,
  answer: ServerResponse,
  what: Sendable,
  onSent: (bytes: number) => void,
): Promise<string | null> {
  const isHead = asked.method === 'HEAD';
  const decided = decideAnswer(
    {
      method: isHead ? 'HEAD' : 'GET',
      range: asked.headers.range,
      ifRange: singleHeader(asked, 'if-range'),
      ifMatch: asked.headers['if-match'],
      ifNoneMatch: asked.headers['if-none-match'],
    },
    what.etag,
    what.sizeBytes,
  );
  const headers = { ...CORS_HEADERS, ETag: what.etag, 'Cache-Control': IMMUTABLE };
  switch (decided.status) {
    case 304:
      answer.writeHead(304, headers).end();
      return null;
    case 412:
      say(answer, 412, 'If-Match names another file', { ETag: what.etag });
      return null;
    case 416:
      say(answer, 416, `the range lies beyond the ${what.sizeBytes} bytes of this file`, {
        ETag: what.etag,
        'Content-Range': `bytes */${what.sizeBytes}`,
      });
      return null;
    case 200:
    case 206:
      answer.writeHead(decided.status, {
        ...headers,
        'Accept-Ranges': 'bytes',
        'Content-Type': what.contentType,
        'Content-Length': decided.endInclusive - decided.start + 1,
        ...contentRange(decided, what.sizeBytes),
      });
      if (!isHead) return sendBody(answer, what.handle, decided, onSent);
      answer.end();
      return null;
  }
}

type Span = Extract<FileAnswer, { readonly start: number }>;

async function sendBody(
  answer: ServerResponse,
  handle: FileHandle,
  span: Span,
  onSent: (bytes: number) => void,
): Promise<string | null> {
  const pieces = handle.createReadStream({
    start: span.start,
    end: span.endInclusive,
    highWaterMark: SEND_PIECE_BYTES,
    autoClose: false,
  });
  let left = span.endInclusive - span.start + 1;
  const count = async function* count(from: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of from) {
      left -= piece.length;
      onSent(piece.length);
      yield piece;
    }
    // A file that got shorter must not look like a whole answer.
    if (left > 0) throw new Error(`the file ended ${left} bytes early`);
  };
  try {
    await pipeline(pieces, count, answer);
    return null;
  } catch (thrown) {
    answer.destroy();
    const isClientGone = ['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE'].includes(
      codeOf(thrown),
    );
    return isClientGone ? null : messageOf(thrown);
  }
}

/** A short text for a person; the status and the headers are for programs. */
export function say(
  answer: ServerResponse,
  status: number,
  words: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = `${words}\n`;
  answer.writeHead(status, {
    ...CORS_HEADERS,
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    ...headers,
  });
  answer.end(body);
}

/** A header that may stand once; where it stands several times the first one counts. */
export function singleHeader(asked: IncomingMessage, name: string): string | undefined {
  const value = asked.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function contentRange(span: Span, sizeBytes: number): Readonly<Record<string, string>> {
  if (span.status === 200) return {};
  return { 'Content-Range': `bytes ${span.start}-${span.endInclusive}/${sizeBytes}` };
}
