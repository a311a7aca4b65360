/**
 * What a serving thread and its owner say to each other. On a hit under a pass: nothing.
 *
 * Shape: asked -> answer (with a pass, where the next ones need not be asked) -> pull/part*, ended.  A `part` of a stored file, and the
 *        file of an answer, stay open until `ended` was said of that answer.
 */
import type { Gate } from './admission-gate.ts';
import type { DenialSet } from './deny-list.ts';
import type { Pass } from './pass.ts';
import type { Ending, RequestView, SenderLimits, SenderStats } from './sender.ts';
import type { Tally } from './tally.ts';
import type { FileId } from '#upstream/contract.ts';

export interface ThreadPlan {
  readonly applianceId: string;
  readonly limits: SenderLimits;
  readonly words: SharedArrayBuffer;
  readonly listenFd: number; // the owner's: a thread that fails leaves it, and what waits in it, to its successor
  readonly clockAnchorMs: number; // the process's high-resolution time less the owner's monotonic time
  readonly sampleOneIn: number;
  readonly standing: Standing;
}

/** What holds for all requests: swapped whole. */
export interface Standing {
  readonly version: number; // SharedWords.standing
  readonly gate: Gate;
  readonly denials: DenialSet | null; // null: as before
  readonly trustedLessMonotonicMs: number;
}

export interface LentFile {
  readonly fd: number;
  readonly serial: number;
  readonly sizeBytes: number;
}

export type RemotePart =
  | {
      readonly kind: 'stored';
      readonly file: LentFile;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array };

/** An Answer that is ended at the owner's. */
export interface RemoteAnswer {
  readonly status: number;
  readonly fieldText: string;
  readonly varying: readonly string[];
  readonly contentLength: number | null;
  readonly body: RemotePart | { readonly kind: 'streamed' } | null;
}

export type OwnerMessage =
  | {
      readonly kind: 'answer';
      readonly id: number;
      readonly answer: RemoteAnswer;
      readonly pass: Pass | null;
    }
  /** null: the body is complete; a text: why there is no more. */
  | { readonly kind: 'part'; readonly id: number; readonly part: RemotePart | null | string }
  | { readonly kind: 'withdrawn'; readonly id: number }
  | { readonly kind: 'standing'; readonly standing: Standing }
  | { readonly kind: 'close'; readonly graceMs: number };

export interface ThreadReport {
  readonly tally: Tally;
  readonly stats: SenderStats;
  readonly loopDelayMs: number; // the longest since the last report
  readonly kept: readonly number[]; // passes whose holders were served after the gate closed
  readonly passesBack: readonly number[];
  readonly samples: readonly (readonly [FileId, number])[]; // chunks to be read back
  readonly sent: readonly (readonly [number, number])[]; // answer, bytes: of those that go on
}

export type ThreadMessage =
  | { readonly kind: 'serving' }
  | { readonly kind: 'asked'; readonly id: number; readonly request: RequestView }
  | { readonly kind: 'pull'; readonly id: number }
  | {
      readonly kind: 'ended';
      readonly id: number;
      readonly how: Ending;
      readonly bytes: number; // since they were last told
    }
  | {
      readonly kind: 'read-failed';
      readonly serial: number;
      readonly offset: number;
      readonly code: string;
    }
  /** A connection with what was read of it: node:http's, at the owner's. */
  | { readonly kind: 'not-plain'; readonly fd: number; readonly bytes: Uint8Array }
  | { readonly kind: 'report'; readonly report: ThreadReport }
  /** A bug: its connections are being cut, a last report and the thread's end follow. */
  | { readonly kind: 'failed'; readonly detail: string };
