/**
 * The owner's desk for one serving thread: decides what the thread asks, and ends its answers.
 *
 * Invariants: (1) every answer that the handler gave is ended once, also where the thread is gone
 *             (2) bytes are told to an answer before its end
 *             (3) an answer that may not be sent any more is withdrawn within WITHDRAWN_LOOK_MS
 */
import type { Outcome } from '#base/outcome.ts';
import type { Hit } from './content-handler.ts';
import type { PassOffice } from './pass-office.ts';
import { passKeyOf, type Pass } from './pass.ts';
import type { Answer, BodyPart, Ending, Handler, RequestView, StoredFile } from './sender.ts';
import type { OwnerMessage, RemoteAnswer, RemotePart } from './thread-messages.ts';

export const WITHDRAWN_LOOK_MS = 100; // few answers are open here: first hits, misses, other boxes'

interface Open {
  readonly answer: Answer;
  isWithdrawn: boolean;
  file: StoredFile | null; // of the part that is being sent
}

export class AnswerDesk {
  readonly #handle: Handler;
  readonly #hitOf: (answer: Answer) => Hit | undefined;
  readonly #office: PassOffice;
  readonly #tell: (message: OwnerMessage) => void;
  readonly #open = new Map<number, Open>();
  #isClosed = false;
  askedCount = 0;

  /** `hitOf`: what an answer's next ones may be answered with, where it is such an answer. */
  constructor(
    handle: Handler,
    hitOf: (answer: Answer) => Hit | undefined,
    office: PassOffice,
    tell: (message: OwnerMessage) => void,
  ) {
    this.#handle = handle;
    this.#hitOf = hitOf;
    this.#office = office;
    this.#tell = tell;
  }

  get openAnswers(): number {
    return this.#open.size;
  }

  asked(id: number, request: RequestView): void {
    this.askedCount++;
    const decided = this.#handle(request);
    const hasKey = passKeyOf(request) !== null;
    if (decided instanceof Promise) void decided.then((answer) => this.#send(id, answer, hasKey));
    else this.#send(id, decided, hasKey);
  }

  pull(id: number): void {
    const open = this.#open.get(id);
    const body = open?.answer.body;
    if (open === undefined || body?.kind !== 'streamed') return;
    void body.next().then((outcome) => {
      if (this.#open.get(id) !== open) return; // it ended meanwhile
      this.#tellIfWithdrawn(id, open); // before the part, so that none of it is sent
      this.#tell({ kind: 'part', id, part: partOf(open, outcome) });
    });
  }

  sent(id: number, bytes: number): void {
    this.#open.get(id)?.answer.sent(bytes);
  }

  ended(id: number, how: Ending, bytes: number): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    if (bytes > 0) open.answer.sent(bytes);
    open.answer.ended(how);
  }

  /** The file of a part that is being sent. Looked for only where a disk failed. */
  fileOf(serial: number): StoredFile | undefined {
    for (const { file } of this.#open.values()) if (file?.serial === serial) return file;
    return undefined;
  }

  /** Once in a while: what may not be sent any more is said so, once. */
  lookForWithdrawn(): void {
    for (const [id, open] of this.#open) this.#tellIfWithdrawn(id, open);
  }

  #tellIfWithdrawn(id: number, open: Open): void {
    if (open.isWithdrawn || !open.answer.isWithdrawn()) return;
    open.isWithdrawn = true;
    this.#tell({ kind: 'withdrawn', id });
  }

  /** The thread is gone: nothing more is sent of any answer. */
  close(): void {
    this.#isClosed = true;
    for (const id of this.#open.keys()) this.ended(id, 'closed', 0);
    this.#office.close();
  }

  #send(id: number, answer: Answer, hasKey: boolean): void {
    if (this.#isClosed) {
      answer.ended('closed');
      return;
    }
    const open: Open = { answer, isWithdrawn: false, file: null };
    this.#open.set(id, open);
    const hit = hasKey ? this.#hitOf(answer) : undefined;
    const pass: Pass | null = hit === undefined ? null : this.#office.issue(hit);
    this.#tell({ kind: 'answer', id, answer: remoteOf(open), pass });
  }
}

function remoteOf(open: Open): RemoteAnswer {
  const { status, constant, varying, contentLength, body } = open.answer;
  const fields = { status, fieldText: constant.text, varying, contentLength };
  if (body === null) return { ...fields, body };
  if (body.kind === 'streamed') return { ...fields, body: { kind: 'streamed' } };
  return { ...fields, body: remotePartOf(open, body) };
}

function partOf(open: Open, outcome: Outcome<BodyPart | null>): RemotePart | null | string {
  if (!outcome.ok) return outcome.failure.detail;
  return outcome.value === null ? null : remotePartOf(open, outcome.value);
}

function remotePartOf(open: Open, part: BodyPart): RemotePart {
  if (part.kind === 'bytes') return { kind: 'bytes', bytes: new Uint8Array(part.bytes) }; // these alone, not the pool around them
  open.file = part.file;
  const { fd, serial, sizeBytes } = part.file;
  const { offset, length } = part;
  return { kind: 'stored', file: { fd, serial, sizeBytes }, offset, length };
}
