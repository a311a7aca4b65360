/**
 * Decides how a stored file is answered, once it is known that the caller may have it.
 *
 * Shape:  (method, conditional and range headers, ETag, size) -> status and the bytes
 * Order:  If-Match, If-None-Match, then If-Range, then Range: a 304 beats a 206
 * Source: RFC 9110 13.1.1, 13.1.2, 13.1.5, 13.2.2, 14.2, 15.5.17
 */
import { decideRange } from '../range.ts';

export interface Asked {
  readonly method: 'GET' | 'HEAD';
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifMatch: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

export type FileAnswer =
  | { readonly status: 200 | 206; readonly start: number; readonly endInclusive: number }
  | { readonly status: 304 | 412 | 416 };

export function decideAnswer(asked: Asked, etag: string, sizeBytes: number): FileAnswer {
  if (asked.ifMatch !== undefined && !matchesStrongly(asked.ifMatch, etag)) return { status: 412 };
  if (asked.ifNoneMatch !== undefined && matchesWeakly(asked.ifNoneMatch, etag)) {
    return { status: 304 };
  }
  const whole = { status: 200, start: 0, endInclusive: sizeBytes - 1 } as const;
  // A HEAD has no body to take a part of; If-Range compares strongly, and no date is known here.
  if (asked.method === 'HEAD') return whole;
  if (asked.ifRange !== undefined && asked.ifRange.trim() !== etag) return whole;
  const decision = decideRange(asked.range, sizeBytes);
  switch (decision.kind) {
    case 'whole':
      return whole;
    case 'part':
      return { status: 206, start: decision.start, endInclusive: decision.endInclusive };
    case 'unsatisfiable':
      return { status: 416 };
  }
}

function matchesStrongly(list: string, etag: string): boolean {
  return list.trim() === '*' || tagsOf(list).includes(etag);
}

function matchesWeakly(list: string, etag: string): boolean {
  return list.trim() === '*' || tagsOf(list).some((tag) => tag.replace(/^W\//, '') === etag);
}

/** A fileId holds no comma and no quote, so that splitting at commas finds every tag that could be ours. */
function tagsOf(list: string): readonly string[] {
  return list.split(',').map((tag) => tag.trim());
}
