/**
 * Moves what was watched from memory to the spool, and from the spool to the control plane, exactly once.
 *
 *   ledger --drained each FLUSH_MS--> spool (disk) --posted, oldest first--> acknowledged --> deleted
 *
 * Invariants: (1) a record leaves memory only when the spool has it, and the spool only when it was acknowledged
 *             (2) after a gap the batches go on under a new spool name: none is sent under a number that was used
 */
import { VIEW_RECORDS_PER_POST_MAX, type ViewRecordBatch } from '#appliance/contract.ts';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { Outcome } from '#base/outcome.ts';
import type { ViewLedger } from '../serve/view-ledger.ts';

const FLUSH_MS = 5000;
/** With the control plane away, batches are made rarer than this many would fill: the ledger adds up meanwhile. */
const BACKLOG_DENSE_MAX = 100;
const BACKLOG_FLUSH_MS = 15 * 60_000;
const POSTS_PER_ROUND_MAX = 50;

export interface BatchSpool {
  append(records: ViewRecordBatch['records']): Outcome<void>;
  oldest(): { readonly id: number; readonly batch: ViewRecordBatch } | null;
  readonly count: number;
  /** Bytes watched that there was no room to tell of. */
  readonly lostBytes: number;
  acknowledge(spoolId: string, sequence: number): void;
  renumber(spoolId: string): void;
}

export interface ViewReporterDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly ledger: ViewLedger;
  readonly spool: BatchSpool;
  readonly nowSeconds: () => number;
  readonly post: (batch: ViewRecordBatch) => Promise<Outcome<{ readonly acknowledged: number }>>;
}

export class ViewReporter {
  readonly #deps: ViewReporterDeps;
  #timer: Timer | null = null;
  #posting: Promise<void> | null = null;
  #lastFlushMs = -Infinity;
  #problem: string | null = null;
  #lostBytes: number;

  constructor(deps: ViewReporterDeps) {
    this.#deps = deps;
    this.#lostBytes = deps.spool.lostBytes;
  }

  get problem(): string | null {
    return this.#problem;
  }

  start(): void {
    this.#timer = this.#deps.clock.every(FLUSH_MS, () => {
      this.flush(false);
      void this.send();
    });
  }

  /** Writes down what is in memory, and tries once more to send it. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.flush(true);
    await this.send();
  }

  flush(isForced: boolean): void {
    const { clock, ledger, spool, nowSeconds, log } = this.#deps;
    const now = clock.monotonicMs();
    const periodMs = spool.count > BACKLOG_DENSE_MAX ? BACKLOG_FLUSH_MS : 0;
    if (!isForced && now - this.#lastFlushMs < periodMs) return;
    this.#lastFlushMs = now;
    for (;;) {
      const records = ledger.drain(VIEW_RECORDS_PER_POST_MAX, nowSeconds());
      if (records.length === 0) return;
      const written = spool.append(records);
      if (!written.ok) {
        ledger.restore(records);
        if (this.#problem === null) log.error({ event: 'spool-failed' }, written.failure.detail);
        this.#problem = written.failure.detail;
        return;
      }
      this.#problem = null;
      this.#lookAtLoss();
      if (records.length < VIEW_RECORDS_PER_POST_MAX) return;
    }
  }

  #lookAtLoss(): void {
    const { spool, log } = this.#deps;
    if (spool.lostBytes === this.#lostBytes) return;
    this.#problem = `the control plane is away for too long: view records of ${spool.lostBytes - this.#lostBytes} bytes were lost`;
    log.error({ event: 'view-records-lost' }, this.#problem);
    this.#lostBytes = spool.lostBytes;
  }

  send(): Promise<void> {
    this.#posting ??= this.#send().finally(() => {
      this.#posting = null;
    });
    return this.#posting;
  }

  async #send(): Promise<void> {
    const { spool, post, log } = this.#deps;
    for (let posts = 0; posts < POSTS_PER_ROUND_MAX; posts++) {
      const oldest = spool.oldest();
      if (oldest === null) return;
      const { spoolId, sequence } = oldest.batch;
      const answer = await post(oldest.batch);
      if (!answer.ok) return; // it stays on the disk; the next round tries again
      if (answer.value.acknowledged >= sequence) {
        spool.acknowledge(spoolId, answer.value.acknowledged);
        continue;
      }
      // The other side expects an earlier batch, which was acknowledged and is gone: it lost its place.
      log.warn(
        { event: 'spool-renumbered', spoolId, sequence },
        'view records go on under a new spool name',
      );
      spool.renumber(spoolId);
    }
  }
}
