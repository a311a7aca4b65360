/**
 * Answers in a serving thread what its passes cover, by the same table of steps as the owner (content-handler.ts).
 *
 * Shape:      (request) -> Answer | null: somebody else decides
 * Invariants: (1) an answer under a pass needs no promise and no message
 *             (2) a pass is given back only after the last answer on its file ended
 *             (3) a gate or a deny list that changed holds from that moment on, whether or not this thread was told of it yet
 *             (4) a pass whose file was taken back is not used for another request, and is given back within a second
 */
import { LRUCache } from 'lru-cache';
import { assert } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import type { Clock } from '#base/clock.ts';
import type { FileId } from '#upstream/contract.ts';
import { StoredEntry } from '../store/entry.ts';
import { OpenFile } from '../store/open-files.ts';
import { OPEN, type Gate } from './admission-gate.ts';
import { Answers } from './answers.ts';
import { ContentHandler } from './content-handler.ts';
import { DenyRegister } from './deny-list.ts';
import { PASS_MS, PASSES_PER_THREAD_MAX, type Pass } from './pass.ts';
import type { Answer, RequestView } from './sender.ts';
import type { SharedWords } from './shared-words.ts';
import type { AccessLedger, Ledgers } from './tally.ts';
import type { Standing } from './thread-messages.ts';
import { KnownToken, type TokenVerdict } from './viewer-verdicts.ts';

export interface PassHandlerDeps {
  readonly applianceId: string;
  readonly clock: Clock; // the owner's monotonic time
  readonly random: Random;
  readonly words: SharedWords;
  readonly ledgers: Ledgers;
  readonly accesses: AccessLedger;
  readonly sampleOneIn: number;
  readonly readFailed: (serial: number, offset: number, code: string) => void;
}

interface Held {
  readonly pass: Pass;
  readonly host: string;
  readonly token: KnownToken;
  readonly file: OpenFile;
  readonly endsMs: number;
}

export class PassHandler {
  readonly #deps: PassHandlerDeps;
  readonly #held: LRUCache<string, Held>;
  readonly #byFile = new Map<OpenFile, number>(); // pass, by the file that is its own
  readonly #content: ContentHandler;
  readonly #denials = new DenyRegister();
  #current: Held | null = null; // of the request that is being decided
  #gate: Gate = OPEN;
  #standing = -1; // version
  #trustedLessMonotonicMs = 0;
  #kept = new Set<number>();
  #back: number[] = [];
  #samples: [FileId, number][] = [];
  #answered = 0;

  constructor(deps: PassHandlerDeps) {
    this.#deps = deps;
    this.#held = new LRUCache({
      max: PASSES_PER_THREAD_MAX,
      dispose: (held) => this.#letGo(held),
    });
    this.#content = this.#handler();
  }

  handle(request: RequestView, key: string | null): Answer | null {
    // What holds for all changed a moment ago, and this thread was not told yet: its owner knows.
    if (key === null || this.#deps.words.standing !== this.#standing) return null;
    const held = this.#held.get(key);
    if (held === undefined || held.host !== request.host) return null;
    if (!this.#holds(held)) {
      this.#held.delete(key);
      return null;
    }
    this.#current = held;
    const answer = this.#content.handle(request);
    this.#current = null;
    assert(!(answer instanceof Promise), 'an answer under a pass waits for nothing');
    return answer;
  }

  /** `host`: of the request that it was issued for. */
  take(key: string, host: string, pass: Pass): void {
    const { clock, readFailed } = this.#deps;
    const entry = new StoredEntry(
      0,
      {
        fileId: pass.fileId,
        sizeBytes: pass.sizeBytes,
        titles: [pass.titleId],
        isPinned: false,
        forecastPerDay: 0,
        storedAtMs: pass.storedAtMs,
        from: '',
      },
      null,
      true,
    );
    entry.serial = pass.serial;
    const file = new OpenFile(entry, { fd: pass.fd, isWritable: false }, (_, offset, code) =>
      readFailed(pass.serial, offset, code),
    );
    // Issued for this target and host: whatever the content handler makes of them, it is covered.
    const claims = { ...pass.token, covers: () => true };
    const token = new KnownToken(claims, pass.token.firstSeenMs, pass.token.draw);
    this.#byFile.set(file, pass.id);
    this.#held.set(key, { pass, host, token, file, endsMs: clock.monotonicMs() + PASS_MS });
  }

  stand({ version, gate, denials, trustedLessMonotonicMs }: Standing): void {
    this.#gate = gate;
    this.#trustedLessMonotonicMs = trustedLessMonotonicMs;
    if (denials !== null) this.#denials.offer(denials);
    this.#standing = version;
  }

  get nowSeconds(): number {
    return Math.floor((this.#deps.clock.monotonicMs() + this.#trustedLessMonotonicMs) / 1000);
  }

  get count(): number {
    return this.#held.size;
  }

  /** Passes that hold no more are let go, whether or not anybody asks for them again. */
  sweep(): void {
    for (const [key, held] of this.#held.entries()) {
      if (!this.#holds(held)) this.#held.delete(key);
    }
  }

  /** What happened since the last call. */
  takeNews(): {
    readonly kept: readonly number[];
    readonly passesBack: readonly number[];
    readonly samples: readonly (readonly [FileId, number])[];
  } {
    const news = { kept: [...this.#kept], passesBack: this.#back, samples: this.#samples };
    this.#kept = new Set();
    this.#back = [];
    this.#samples = [];
    return news;
  }

  #holds({ pass, endsMs }: Held): boolean {
    const { words, clock } = this.#deps;
    return (
      words.generation(pass.place) === pass.generation &&
      words.epoch === pass.epoch &&
      clock.monotonicMs() < endsMs
    );
  }

  #letGo({ file }: Held): void {
    file.isDetached = true;
    if (file.references === 0) this.#giveBack(file);
  }

  #giveBack(file: OpenFile): void {
    const id = this.#byFile.get(file);
    assert(id !== undefined, 'a pass is given back once');
    this.#byFile.delete(file);
    this.#back.push(id);
  }

  /** The owner's table of steps on what the current pass says. What it cannot say is never asked for. */
  #handler(): ContentHandler {
    const { applianceId, clock, random, ledgers, accesses, sampleOneIn } = this.#deps;
    const nowSeconds = (): number => this.nowSeconds;
    return new ContentHandler({
      ...ledgers,
      clock,
      random,
      nowSeconds,
      accessed: (fileId, bytes) => accesses.add(fileId, bytes),
      denials: this.#denials,
      answers: new Answers(applianceId),
      verdicts: { peek: () => this.#verdict(), verify: owners },
      grants: { peek: owners, verify: owners },
      belonging: {
        peek: () => ({
          verdict: 'belongs',
          sizeBytes: this.#now.pass.sizeBytes,
          forecastPerDay: 0,
        }),
        decide: owners,
      },
      store: {
        find: () => this.#now.file.entry,
        peek: () => {
          const { file } = this.#now;
          file.references++;
          return file;
        },
        release: (file) => {
          if (--file.references === 0 && file.isDetached) this.#giveBack(file);
        },
        lease: owners,
        chunkList: owners,
      },
      missBody: owners,
      peerBudget: { take: owners, giveBack: owners, sent: owners },
      onMiss: 'refuse',
      onMissByClass: {},
      firstByteMsMax: 0,
      listingText: owners,
      gate: () => this.#gate,
      onKept: () => this.#kept.add(this.#now.pass.id),
      onServed: (fileId, chunkIndex) => {
        if (++this.#answered % sampleOneIn === 0) this.#samples.push([fileId, chunkIndex]);
      },
      onHit: null,
    });
  }

  get #now(): Held {
    assert(this.#current !== null, 'a request is being decided');
    return this.#current;
  }

  #verdict(): TokenVerdict {
    const { token } = this.#now;
    const now = this.nowSeconds;
    if (token.claims.expiresAtSeconds <= now) return { ok: false, refusal: 'token-expired' };
    if (token.claims.notBeforeSeconds > now) return { ok: false, refusal: 'token-not-yet' };
    return { ok: true, token };
  }
}

/** What only the owner decides: a request for it has no pass. */
function owners(): never {
  assert(false, 'this is the owner’s to decide');
}
