/**
 * The held fleet between the stream and the disk: messages in, the last good snapshot kept, sets packed off the main thread.
 */
import path from 'node:path';
import type { Clock, Milliseconds } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { ApplianceId, FleetDelta, FleetSnapshot } from '#control-plane/contract.ts';
import { FleetHolder } from '../fleet-holder.ts';
import { holdsTooMuchForText, snapshotOf, type Fleet } from '../fleet.ts';
import { isWorthPacking } from '../holdings.ts';
import { SetPacker } from './set-packer.ts';
import { loadSnapshot, saveSnapshot } from './snapshot-file.ts';

const KEEP_PERIOD_MS = 5000; // a snapshot reaches the disk about this long after it was taken
/** A large fleet takes a while to write: at most this share of the time goes into it, so that few answers wait. */
const KEEP_TIME_SHARE_MAX = 1 / 200;

export interface FleetKeeperDeps {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly fleet?: Fleet | undefined; // to begin with, made elsewhere
  readonly heldInTextMax?: number; // for tests: a small fleet that counts as a large one
  /** Before anything is decided on the new fleet. */
  readonly onTaken: (
    message: FleetSnapshot | FleetDelta,
    before: Fleet | null,
    after: Fleet,
    changed: readonly ApplianceId[],
  ) => void;
}

export class FleetKeeper {
  readonly #deps: FleetKeeperDeps;
  readonly #holder: FleetHolder;
  readonly #packer: SetPacker;
  readonly #file: string;
  #receivedAtMs: Milliseconds | null = null;
  #fromDisk = false;
  #isKept = true;
  #lastRefusal: string | null = null;
  #keepAgainAtMs: Milliseconds = -Infinity;
  #saidBare = false;
  refused = 0;

  constructor(deps: FleetKeeperDeps) {
    this.#deps = deps;
    this.#holder = new FleetHolder(deps.fleet);
    this.#file = path.join(deps.stateDir, 'snapshot');
    this.#packer = new SetPacker((applianceId, before, base) => {
      this.#holder.replaceSet(applianceId, before, base);
    }, deps.log);
  }

  get current(): Fleet | null {
    return this.#holder.current;
  }

  get state(): {
    readonly receivedAtMs: Milliseconds | null;
    readonly fromDisk: boolean;
    readonly lastRefusal: string | null;
    readonly setsPacked: number;
  } {
    return {
      receivedAtMs: this.#receivedAtMs,
      fromDisk: this.#fromDisk,
      lastRefusal: this.#lastRefusal,
      setsPacked: this.#packer.packed,
    };
  }

  /** From the disk: what a start without the control plane answers from. */
  load(): void {
    const { log, clock } = this.#deps;
    if (this.#holder.current !== null) return;
    const kept = loadSnapshot(this.#file);
    if (!kept.ok) {
      log.warn({ code: kept.failure.code }, kept.failure.detail);
      return;
    }
    if (kept.value === null) return;
    const offer = this.#holder.offer(kept.value.snapshot, clock.wallMs());
    if (offer.kind !== 'taken') {
      const why = 'why' in offer ? offer.why : offer.kind;
      log.warn({ file: this.#file, why }, 'kept snapshot is not used');
      return;
    }
    this.#receivedAtMs = kept.value.receivedAtMs;
    this.#fromDisk = true;
    const { version } = kept.value.snapshot;
    log.info({ event: 'snapshot-from-disk', version }, 'answering from the last good snapshot');
  }

  take(message: FleetSnapshot | FleetDelta): 'go-on' | 'reconnect' {
    const { clock, log, onTaken } = this.#deps;
    const before = this.#holder.current;
    const offer = this.#holder.offer(message, clock.wallMs());
    if (offer.kind === 'gap' || offer.kind === 'refused') {
      if (offer.kind === 'refused') this.refused++;
      if (offer.why !== this.#lastRefusal) {
        log.warn({ event: 'snapshot-refused', why: offer.why }, 'the held snapshot stands');
      }
      this.#lastRefusal = offer.why;
      return 'reconnect';
    }
    this.#receivedAtMs = clock.wallMs();
    this.#fromDisk = false;
    if (offer.kind === 'same') return 'go-on';
    this.#lastRefusal = null;
    this.#isKept = false;
    const changed = message.appliances.map(({ applianceId }) => applianceId);
    onTaken(message, before, offer.fleet, changed);
    this.#pack(offer.fleet, message);
    return 'go-on';
  }

  /** Called often; writes when there is something new and the last time is long enough ago. */
  keep(isLast = false): void {
    const { log, clock } = this.#deps;
    const fleet = this.#holder.current;
    if (this.#isKept || fleet === null || this.#receivedAtMs === null) return;
    if (!isLast && clock.monotonicMs() < this.#keepAgainAtMs) return;
    const beginsAtMs = clock.monotonicMs();
    const isBare = holdsTooMuchForText(fleet, this.#deps.heldInTextMax);
    if (isBare && !this.#saidBare) {
      this.#saidBare = true;
      log.warn(
        { event: 'holdings-not-kept', boxes: fleet.appliances.length },
        'the boxes hold more files than a snapshot on disk can list: a start without the control plane would not know who has which file',
      );
    }
    const saved = saveSnapshot(this.#file, snapshotOf(fleet, isBare), this.#receivedAtMs);
    const tookMs = clock.monotonicMs() - beginsAtMs;
    this.#keepAgainAtMs =
      clock.monotonicMs() + Math.max(KEEP_PERIOD_MS, tookMs / KEEP_TIME_SHARE_MAX);
    if (saved.ok) this.#isKept = true;
    else log.warn({ code: saved.failure.code }, saved.failure.detail);
  }

  async stop(): Promise<void> {
    this.keep(true);
    await this.#packer.stop();
  }

  #pack(fleet: Fleet, { holdings }: FleetSnapshot | FleetDelta): void {
    for (const { applianceId } of holdings) {
      const box = fleet.appliances[fleet.indexOf.get(applianceId) ?? -1];
      if (box !== undefined && isWorthPacking(box.holdings)) {
        this.#packer.offer(applianceId, box.holdings);
      }
    }
  }
}
