/**
 * The last good snapshot on disk: what a start without the control plane answers from.
 *
 * One line of JSON with the SHA-256 of what follows, then the snapshot. Written to the side, synced, renamed: a
 * crash leaves the old one or the new one. A file that is torn or was changed is refused whole.
 */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Type } from 'typebox';
import type { Milliseconds } from '#base/clock.ts';
import { checker } from '#base/config.ts';
import { codeOf, failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import { FleetSnapshotSchema, type FleetSnapshot } from '#control-plane/contract.ts';

const HeaderSchema = Type.Object({
  sha256: Type.String(),
  receivedAtMs: Type.Integer({ minimum: 0 }),
});
const checkHeader = checker(HeaderSchema);
const checkFleetSnapshot = checker(FleetSnapshotSchema);

export interface KeptSnapshot {
  readonly snapshot: FleetSnapshot;
  readonly receivedAtMs: Milliseconds;
}

export function saveSnapshot(
  file: string,
  snapshot: FleetSnapshot,
  receivedAtMs: Milliseconds,
): Outcome<number> {
  const body = JSON.stringify(snapshot);
  const header = JSON.stringify({ sha256: sha256Of(body), receivedAtMs });
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const descriptor = openSync(temporary, 'w', 0o600);
    try {
      writeFileSync(descriptor, `${header}\n${body}`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, file);
    return success(header.length + 1 + body.length);
  } catch (thrown) {
    return failed({
      code: codeOf(thrown) || 'snapshot-not-kept',
      source: 'disk',
      retry: 'same-source',
      detail: `${file}: ${messageOf(thrown)}`,
      cause: thrown,
    });
  }
}

/** Null where there is none yet. */
export function loadSnapshot(file: string): Outcome<KeptSnapshot | null> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return success(null);
    return refused(file, messageOf(thrown));
  }
  const newline = text.indexOf('\n');
  const body = text.slice(newline + 1);
  try {
    const header = checkHeader(JSON.parse(text.slice(0, Math.max(0, newline))));
    if (!header.ok) return refused(file, 'its first line is not a header');
    if (sha256Of(body) !== header.value.sha256) return refused(file, 'it is torn or was changed');
    const checked = checkFleetSnapshot(JSON.parse(body));
    if (!checked.ok) return refused(file, checked.failure.slice(0, 3).join('; '));
    return success({ snapshot: checked.value, receivedAtMs: header.value.receivedAtMs });
  } catch (thrown) {
    return refused(file, messageOf(thrown));
  }
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function refused(file: string, why: string): Outcome<never> {
  return failed({
    code: 'kept-snapshot-refused',
    source: 'disk',
    retry: 'never',
    detail: `${file}: ${why}; starting without it`,
  });
}
