/**
 * Whether a new manifest may delete what it deletes, or has to wait for somebody to say that it is meant.
 *
 * A planner that lost its demand, or a wrong cluster, would empty a box that took weeks to fill.
 *
 * Shape:      (set in use, new set, what is held) -> loss; (loss, version held back before) -> 'take' | 'hold'
 * Invariants: (1) a first manifest is never held
 *             (2) a second manifest that deletes as much is a confirmation
 */
import type { FileId } from '#upstream/contract.ts';
import type { ManifestSet } from './manifest-set.ts';

export const DELETE_SHARE_MAX = 0.1;
/** Below it a share says nothing: one film of a handful is 20 %. */
const FILES_HELD_MIN = 50;

export interface Loss {
  readonly filesHeld: number;
  readonly filesLost: number;
  readonly bytesHeld: number;
  readonly bytesLost: number;
}

export function lossOf(
  inUse: ManifestSet,
  next: ManifestSet,
  isHeld: (fileId: FileId) => boolean,
): Loss {
  const loss = { filesHeld: 0, filesLost: 0, bytesHeld: 0, bytesLost: 0 };
  for (const { fileId, sizeBytes } of inUse.order) {
    if (!isHeld(fileId)) continue;
    loss.filesHeld++;
    loss.bytesHeld += sizeBytes;
    if (next.files.has(fileId)) continue;
    loss.filesLost++;
    loss.bytesLost += sizeBytes;
  }
  return loss;
}

export function decideDeletes(loss: Loss, heldBackBefore: number | null): 'take' | 'hold' {
  if (loss.filesHeld < FILES_HELD_MIN) return 'take';
  if (loss.bytesLost <= DELETE_SHARE_MAX * loss.bytesHeld) return 'take';
  return heldBackBefore === null ? 'hold' : 'take';
}

export function holdInWords(version: number, loss: Loss): string {
  const share = ((100 * loss.bytesLost) / loss.bytesHeld).toFixed(1);
  return (
    `manifest-held: version ${version} would delete ${share} % of what is held (${loss.filesLost} of ${loss.filesHeld} files); ` +
    'the one in use stays until a second manifest says so too, or "nightfill appliance confirm-manifest" does'
  );
}
