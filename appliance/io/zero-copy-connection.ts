/**
 * One connection of the zero-copy sender: what was read and not yet understood, and what is left to be sent.
 *
 *            head read               answer                     part gone, stream: next
 *   idle ---------------> deciding ---------> sending <-------------------------------> pulling
 *    ^  \                                      |   ^ \--- pages not in memory ---> reading
 *    |   \--- not plain ---> (node:http)       |   '------------- bytes are here -----'
 *    '------------------ body complete --------'
 *    idle, sending --- 408, or this box stops ---> lingering ---> closed;  any --- cut, gone ---> closed
 *
 * Invariants: (1) `fd` is -1 once closed or handed over, and is never kept anywhere else across turns
 *             (2) `answer` is set from the handler's answer to its `ended`
 *             (3) in `reading` the file may not be closed: `ended` waits for the read
 */
import type { Answer, StoredFile, StreamedBody } from '../serve/sender.ts';
import { PlainRequest } from '../serve/zero-copy-request.ts';

export type Phase = 'idle' | 'deciding' | 'sending' | 'pulling' | 'reading' | 'lingering';

export class ZeroCopyConnection {
  fd: number;
  readonly slot: number;
  readonly generation: number;
  readonly request: PlainRequest;
  phase: Phase = 'idle';
  /** The kernel may hold bytes of the client that were not read. Edge-triggered: nobody says it twice. */
  isReadable = true;
  isHalfClosed = false; // the client sends no more; it may still read
  isBlocked = false; // the kernel takes no more until the client does
  isQueued = false;
  isCorked = false;
  hadRequest = false;

  input: Buffer | null = null; // read and not yet understood, from inputAt on
  inputAt = 0;

  answer: Answer | null = null;
  head: Uint8Array | null = null; // what the kernel did not take of the head
  bytes: Uint8Array | null = null; // a part of the body that is in memory, from bytesAt on
  bytesAt = 0;
  file: StoredFile | null = null; // a part of the body that is on disk, from position to end
  position = 0;
  end = 0;
  stream: StreamedBody | null = null;
  bodySent = 0;

  sinceMs: number; // of the phase idle (or of the first byte of a head) or lingering
  windowSinceMs = 0; // of the delivery that is judged next
  windowBytes = 0; // bodySent when it began

  constructor(fd: number, slot: number, generation: number, remoteAddress: string, nowMs: number) {
    this.fd = fd;
    this.slot = slot;
    this.generation = generation;
    this.request = new PlainRequest(remoteAddress);
    this.sinceMs = nowMs;
  }
}
