/**
 * Who is told what an answer really sent: view records, counters, path quality, popularity, the budget of other boxes.
 *
 * Invariants: (1) every byte that the kernel took is counted once, where its client belongs
 *             (2) an account ends once, and gives back what its answer held
 *             (3) a denial is looked at again whenever the deny list changed under a running answer
 */
import { assert } from '#base/outcome.ts';
import type { Clock } from '#base/clock.ts';
import { HOME_UNKNOWN, type ApplianceId } from '#control-plane/contract.ts';
import type { ContentLocation, FileId } from '#upstream/contract.ts';
import type { Account } from './answers.ts';
import type { Counters } from './counters.ts';
import type { Denial, DenyList, DenyRegister } from './deny-list.ts';
import type { PeerBudget } from './grant-verdicts.ts';
import type { QualityLedger } from './quality.ts';
import type { Ending, RequestView } from './sender.ts';
import type { ViewLedger, ViewSlot } from './view-ledger.ts';
import type { KnownToken } from './viewer-verdicts.ts';

export type FileLocation = ContentLocation & { readonly fileId: FileId };

/** Who asks, once they were let in. */
export type Client =
  | { readonly kind: 'viewer'; readonly token: KnownToken }
  | { readonly kind: 'box'; readonly applianceId: ApplianceId };

/** One request on its way through the steps. */
export interface Asked<Location extends ContentLocation = ContentLocation> {
  /** The sender's own until something is awaited, then a copy (sender.ts). */
  readonly request: RequestView;
  readonly location: Location;
  readonly startMs: number; // monotonic
  readonly throughputKbps: number | null; // as its player measured it
  /** What it waited for: the value of a Server-Timing field, '' for nothing. */
  readonly timing: string;
}

export interface AccountDeps {
  readonly clock: Clock;
  readonly nowSeconds: () => number; // trusted
  /** A viewer took `bytes` of it: what leaves the box first is decided by that. */
  readonly accessed: (fileId: FileId, bytes: number) => void;
  readonly counters: Counters;
  readonly views: ViewLedger;
  readonly denials: DenyRegister;
  readonly quality: QualityLedger;
  readonly peerBudget: Pick<PeerBudget, 'take' | 'giveBack' | 'sent'>;
}

/** What a denial says of a client that was let in: asked per request, and again before each part of its body. */
export function denialOf(list: DenyList, client: Client, location: ContentLocation): Denial | null {
  const denial = list.content(location.titleId, location.fileId);
  if (denial !== null) return denial;
  if (client.kind === 'box') return list.box(client.applianceId);
  const { keyId, issuer } = client.token.claims;
  return list.token(keyId, issuer);
}

/** Adds a viewer's bytes where they belong, as they go. */
export class ViewerAccount implements Account {
  readonly #deps: AccountDeps;
  readonly #client: Extract<Client, { kind: 'viewer' }>;
  readonly #location: FileLocation;
  readonly #remoteAddress: string;
  readonly #startMs: number;
  readonly #throughputKbps: number | null;
  readonly #slot: ViewSlot | null;
  readonly #release: () => void;
  #judgedUnder: DenyList | null = null;
  #denial: Denial | null = null;
  #firstByteMs = 0; // monotonic; 0: nothing was sent yet
  #sentBytes = 0;
  #isEnded = false;

  /** `startsFile`: the answer begins with the file's first byte. */
  constructor(
    deps: AccountDeps,
    asked: Asked<FileLocation>,
    client: Extract<Client, { kind: 'viewer' }>,
    startsFile: boolean,
    release: () => void,
  ) {
    this.#deps = deps;
    this.#client = client;
    this.#location = asked.location;
    this.#remoteAddress = asked.request.remoteAddress;
    this.#startMs = asked.startMs;
    this.#throughputKbps = asked.throughputKbps;
    this.#release = release;
    deps.counters.viewerRequests++;
    deps.counters.viewersUnderWay++;
    const { home, reason } = client.token.claims;
    this.#slot = deps.views.take(asked.location.fileId, home, reason, deps.nowSeconds());
    if (this.#slot !== null && startsFile) this.#slot.starts++;
  }

  isWithdrawn(): boolean {
    const { current } = this.#deps.denials;
    if (current !== this.#judgedUnder) {
      this.#judgedUnder = current;
      this.#denial = denialOf(current, this.#client, this.#location);
    }
    return this.#denial !== null;
  }

  sent(bytes: number): void {
    const { clock, counters, views } = this.#deps;
    const { home, reason } = this.#client.token.claims;
    if (this.#firstByteMs === 0) this.#firstByteMs = clock.monotonicMs();
    this.#sentBytes += bytes;
    counters.viewerBytes += bytes;
    counters.viewerBytesByReason[reason] += bytes;
    if (home === HOME_UNKNOWN) counters.viewerBytesUnknownHome += bytes;
    if (this.#slot === null) views.unrecordedBytes += bytes;
    else this.#slot.bytes += bytes;
  }

  ended(how: Ending): void {
    assert(!this.#isEnded, 'an answer ended twice');
    this.#isEnded = true;
    const { clock, counters, quality, accessed, nowSeconds } = this.#deps;
    if (how === 'withdrawn' && this.#denial !== null) counters.refuse(this.#denial);
    counters.viewersUnderWay--;
    if (this.#slot !== null) this.#slot.users--;
    this.#release();
    quality.delivered(
      {
        remoteAddress: this.#remoteAddress,
        firstByteMs: this.#firstByteMs === 0 ? null : this.#firstByteMs - this.#startMs,
        durationMs: this.#firstByteMs === 0 ? 0 : clock.monotonicMs() - this.#firstByteMs,
        bytes: this.#sentBytes,
        isError: how === 'slow' || how === 'failed',
        throughputKbps: this.#throughputKbps,
      },
      nowSeconds(),
    );
    if (this.#sentBytes > 0) accessed(this.#location.fileId, this.#sentBytes);
  }
}

/** Another box's bytes: out of the budget that boxes share. */
export class BoxAccount implements Account {
  readonly #deps: AccountDeps;
  readonly #client: Extract<Client, { kind: 'box' }>;
  readonly #location: ContentLocation;
  readonly #release: () => void;

  constructor(
    deps: AccountDeps,
    location: ContentLocation,
    client: Extract<Client, { kind: 'box' }>,
    release: () => void,
  ) {
    this.#deps = deps;
    this.#client = client;
    this.#location = location;
    this.#release = release;
  }

  isWithdrawn(): boolean {
    return denialOf(this.#deps.denials.current, this.#client, this.#location) !== null;
  }

  sent(bytes: number): void {
    this.#deps.counters.peerBytesServed += bytes;
    this.#deps.peerBudget.sent(bytes);
  }

  ended(): void {
    this.#release();
  }
}
