/**
 * Preconditions of a request on a file that never changes: its strong ETag is its id.
 *
 * Shape:  (fields, fileId) -> go-on, with or without the Range | not-modified | failed
 * Source: RFC 9110 13.1.1, 13.1.2, 13.1.5, 13.2.2. Last-Modified is never sent, so that dates match nothing
 */
import { etagOf, type FileId } from '#upstream/contract.ts';
import type { RequestView } from './sender.ts';

export type Condition = 'go-on' | 'go-on-without-range' | 'not-modified' | 'precondition-failed';

type Fields = Pick<RequestView, 'ifMatch' | 'ifNoneMatch' | 'ifRange' | 'method'>;

export function decideCondition(fields: Fields, fileId: FileId): Condition {
  const etag = etagOf(fileId);
  if (fields.ifMatch !== undefined && !lists(fields.ifMatch, etag, false))
    return 'precondition-failed';
  if (fields.ifNoneMatch !== undefined && lists(fields.ifNoneMatch, etag, true))
    return 'not-modified';
  // HEAD has no ranges; If-Range compares strongly: a weak tag or a date means the whole file.
  if (fields.method === 'HEAD') return 'go-on-without-range';
  if (fields.ifRange !== undefined && fields.ifRange.trim() !== etag) return 'go-on-without-range';
  return 'go-on';
}

function lists(field: string, etag: string, isWeakEnough: boolean): boolean {
  if (field.trim() === '*') return true;
  return field.split(',').some((part) => {
    const tag = part.trim();
    return tag === etag || (isWeakEnough && tag === `W/${etag}`);
  });
}
