/**
 * A serving thread's line to its owner: requests that it does not decide itself, and the bodies of their answers.
 *
 * Invariants: (1) every answer that came is ended at the owner's once
 *             (2) bytes that the kernel took are told with the end of their answer, or with a report before it
 */
import { assert, failed, success, type Outcome } from '#base/outcome.ts';
import type {
  Answer,
  Body,
  BodyPart,
  Ending,
  FieldSet,
  RequestView,
  StoredFile,
} from './sender.ts';
import type { Pass } from './pass.ts';
import type { LentFile, RemoteAnswer, RemotePart, ThreadMessage } from './thread-messages.ts';

type Tell = (message: ThreadMessage) => void;

interface Waiting {
  readonly key: string | null;
  readonly host: string;
  readonly resolve: (answer: Answer) => void;
}

export class OwnerLine {
  readonly #tell: Tell;
  readonly #onPass: (key: string, host: string, pass: Pass) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #answers = new Map<number, OwnersAnswer>();
  #lastId = 0;

  /** `onPass` is given what the next requests of a key may be answered with. */
  constructor(tell: Tell, onPass: (key: string, host: string, pass: Pass) => void) {
    this.#tell = tell;
    this.#onPass = onPass;
  }

  /** `key`: what a pass for this request would be known by. */
  ask(request: RequestView, key: string | null): Promise<Answer> {
    const id = ++this.#lastId;
    this.#tell({ kind: 'asked', id, request: plainCopy(request) });
    const { host } = request;
    return new Promise((resolve) => this.#waiting.set(id, { key, host, resolve }));
  }

  answered(id: number, remote: RemoteAnswer, pass: Pass | null): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    if (pass !== null) {
      assert(waiting.key !== null, 'a pass is issued for what has a key');
      this.#onPass(waiting.key, waiting.host, pass);
    }
    const answer = new OwnersAnswer(id, remote, this.#tell, () => this.#answers.delete(id));
    this.#answers.set(id, answer);
    waiting.resolve(answer);
  }

  part(id: number, part: RemotePart | null | string): void {
    this.#answers.get(id)?.arrived(part);
  }

  withdrawn(id: number): void {
    this.#answers.get(id)?.withdraw();
  }

  /** Bytes of answers that go on, since they were last told. */
  takeSent(): readonly (readonly [number, number])[] {
    const sent: [number, number][] = [];
    for (const answer of this.#answers.values()) {
      const bytes = answer.takeSent();
      if (bytes > 0) sent.push([answer.id, bytes]);
    }
    return sent;
  }
}

class OwnersAnswer implements Answer {
  readonly id: number;
  readonly status: number;
  readonly constant: FieldSet;
  readonly varying: readonly string[];
  readonly contentLength: number | null;
  readonly body: Body | null;
  readonly #tell: Tell;
  readonly #onEnded: () => void;
  #isWithdrawn = false;
  #untoldBytes = 0;
  #pulled: ((outcome: Outcome<BodyPart | null>) => void) | null = null;

  constructor(id: number, remote: RemoteAnswer, tell: Tell, onEnded: () => void) {
    this.id = id;
    this.status = remote.status;
    this.constant = { flat: [], text: remote.fieldText };
    this.varying = remote.varying;
    this.contentLength = remote.contentLength;
    this.#tell = tell;
    this.#onEnded = onEnded;
    const { body } = remote;
    if (body === null) this.body = null;
    else if (body.kind === 'streamed') {
      this.body = { kind: 'streamed', next: () => this.#next() };
    } else this.body = this.#local(body);
  }

  isWithdrawn(): boolean {
    return this.#isWithdrawn;
  }

  withdraw(): void {
    this.#isWithdrawn = true;
  }

  sent(bytes: number): void {
    this.#untoldBytes += bytes;
  }

  takeSent(): number {
    const bytes = this.#untoldBytes;
    this.#untoldBytes = 0;
    return bytes;
  }

  ended(how: Ending): void {
    this.#onEnded();
    this.#tell({ kind: 'ended', id: this.id, how, bytes: this.takeSent() });
  }

  arrived(part: RemotePart | null | string): void {
    const pulled = this.#pulled;
    this.#pulled = null;
    if (pulled === null) return;
    if (typeof part === 'string') {
      pulled(failed({ code: 'no-more', source: 'upstream', retry: 'never', detail: part }));
    } else pulled(success(part === null ? null : this.#local(part)));
  }

  #next(): Promise<Outcome<BodyPart | null>> {
    this.#tell({ kind: 'pull', id: this.id });
    return new Promise((resolve) => {
      this.#pulled = resolve;
    });
  }

  #local(part: RemotePart): BodyPart {
    return part.kind === 'bytes' ? part : { ...part, file: this.#file(part.file) };
  }

  #file(lent: LentFile): StoredFile {
    return { ...lent, readFailed: readFailedOf(this.#tell, lent.serial) };
  }
}

export function readFailedOf(tell: Tell, serial: number): StoredFile['readFailed'] {
  return (offset, code) => tell({ kind: 'read-failed', serial, offset, code });
}

/** A sender's view has accessors and is used again for the next request. */
function plainCopy(request: RequestView): RequestView {
  const { method, target, host, range, ifRange, ifMatch, ifNoneMatch } = request;
  const { authorization, purpose, possession, remoteAddress, secure } = request;
  return {
    method,
    target,
    host,
    range,
    ifRange,
    ifMatch,
    ifNoneMatch,
    authorization,
    purpose,
    possession,
    remoteAddress,
    secure,
  };
}
