/**
 * What is told of the fill: how far it is, and what it waits for.
 */
import type { FileId } from '#upstream/contract.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { FillState } from './fill-machine.ts';
import type { HoldReason } from './fill-pace.ts';
import type { ManifestSet } from './manifest-set.ts';

export type WaitingFor = 'window' | 'manifest' | 'source' | 'space' | 'turn' | HoldReason;

export interface FillFigures {
  readonly manifestVersion: number;
  readonly filesWanted: number;
  readonly filesHeld: number;
  readonly bytesWanted: number;
  readonly bytesHeld: number;
  readonly active: number;
  readonly waitingFor: WaitingFor | null;
  readonly problem: string | null;
}

export interface FillFacts {
  readonly manifest: ManifestSet;
  readonly states: ReadonlyMap<FileId, FillState>;
  find(fileId: FileId): Pick<StoredEntry, 'isWhole' | 'presentBytes'> | undefined;
  readonly active: number;
  readonly isWindowOpen: boolean;
  readonly hold: HoldReason | null;
  /** Files that were passed over because another box is to fetch them first. */
  readonly isTurnAwaited: boolean;
  readonly problem: string | null;
}

export function fillFigures(facts: FillFacts): FillFigures {
  const { manifest, states } = facts;
  let filesHeld = 0;
  let bytesHeld = 0;
  let isSpaceLacking = false;
  for (const wanted of manifest.order) {
    const entry = facts.find(wanted.fileId);
    if (entry?.isWhole === true) filesHeld++;
    bytesHeld += entry?.presentBytes ?? 0;
    const state = states.get(wanted.fileId);
    if (state?.name === 'abandoned' && state.reason === 'no-room') isSpaceLacking = true;
  }
  const isDone = filesHeld === manifest.order.length;
  return {
    manifestVersion: manifest.version,
    filesWanted: manifest.order.length,
    filesHeld,
    bytesWanted: manifest.bytes,
    bytesHeld,
    active: facts.active,
    waitingFor: waitingFor(facts, isDone, isSpaceLacking),
    problem: isDone ? null : facts.problem,
  };
}

function waitingFor(facts: FillFacts, isDone: boolean, isSpaceLacking: boolean): WaitingFor | null {
  if (facts.manifest.version === 0) return 'manifest';
  if (isDone || facts.active > 0) return null;
  if (facts.hold === 'pause') return 'pause';
  if (!facts.isWindowOpen) return 'window';
  if (facts.hold !== null) return facts.hold;
  if (isSpaceLacking) return 'space';
  return facts.isTurnAwaited ? 'turn' : 'source';
}
