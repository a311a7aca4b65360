/**
 * What a call into the outside world returns: a value, or a Failure that says whose fault it was and whether retrying helps.
 *
 * Three kinds of "no", never mixed: a Bug throws (`assert`) and ends the process; a Failure is returned by an
 * edge (`io/`) when the world broke its promise; a Verdict (miss, refused, draining) is the domain's own union.
 */
import { strict as nodeAssert } from 'node:assert';

export type FailureSource = 'upstream' | 'downstream' | 'network' | 'disk' | 'self';
export type FailureRetry = 'same-source' | 'another-source' | 'never';

export interface Failure {
  readonly code: string; // stable, kebab-case: the same word in type, log and metric
  readonly source: FailureSource;
  readonly retry: FailureRetry;
  readonly detail: string; // what was refused, where, what to do
  readonly cause?: unknown;
}

export type Outcome<T, F = Failure> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: F };

export function success<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function failed(failure: Failure): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure };
}

/** Ends the process on a bug: nobody catches it, the supervisor restarts. */
export function assert(holds: unknown, why: string): asserts holds {
  if (!holds) nodeAssert.fail(why); // node:assert's own check costs more than what many asserts guard
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The errno-style code of anything that was thrown: 'ENOSPC', 'ECONNREFUSED', or '' where it has none. */
export function codeOf(thrown: unknown): string {
  if (typeof thrown === 'object' && thrown !== null && 'code' in thrown) {
    return typeof thrown.code === 'string' ? thrown.code : '';
  }
  return '';
}
