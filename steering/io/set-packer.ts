/**
 * Packs sets of holdings anew on a thread of its own: 400,000 ordinals take milliseconds, which no answer should wait for.
 *
 * Sets lie in shared memory, so nothing is copied there or back but the overlay. The thread starts with the first set and is
 * ended by stop().
 */
import { Worker } from 'node:worker_threads';
import type { Logger } from '#base/log.ts';
import type { ApplianceId } from '#control-plane/contract.ts';
import type { Holdings, OrdinalSet } from '../holdings.ts';

export interface PackRequest {
  readonly applianceId: ApplianceId;
  readonly holdings: Holdings;
}

export interface PackAnswer {
  readonly applianceId: ApplianceId;
  readonly base: OrdinalSet;
}

/** Sets under way at once: what the thread works on next is already there. */
const AT_ONCE_MAX = 2;

export class SetPacker {
  readonly #onPacked: (applianceId: ApplianceId, before: Holdings, base: OrdinalSet) => void;
  readonly #log: Logger;
  readonly #waiting = new Map<ApplianceId, Holdings>();
  readonly #running = new Map<ApplianceId, Holdings>();
  #worker: Worker | null = null;
  #isStopped = false;
  packed = 0;

  constructor(
    onPacked: (applianceId: ApplianceId, before: Holdings, base: OrdinalSet) => void,
    log: Logger,
  ) {
    this.#onPacked = onPacked;
    this.#log = log;
  }

  /** The newest state of a box counts; one that is being packed waits for its turn. */
  offer(applianceId: ApplianceId, holdings: Holdings): void {
    if (this.#isStopped) return;
    this.#waiting.set(applianceId, holdings);
    this.#next();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#waiting.clear();
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  #next(): void {
    for (const [applianceId, holdings] of this.#waiting) {
      if (this.#running.size >= AT_ONCE_MAX) return;
      if (this.#running.has(applianceId)) continue;
      this.#waiting.delete(applianceId);
      this.#running.set(applianceId, holdings);
      const request: PackRequest = { applianceId, holdings };
      this.#thread().postMessage(request);
    }
  }

  #thread(): Worker {
    if (this.#worker !== null) return this.#worker;
    const worker = new Worker(new URL('./set-packer-worker.ts', import.meta.url));
    worker.on('message', ({ applianceId, base }: PackAnswer) => {
      const before = this.#running.get(applianceId);
      this.#running.delete(applianceId);
      this.packed++;
      if (before !== undefined && !this.#isStopped) this.#onPacked(applianceId, before, base);
      this.#next();
    });
    worker.on('error', (error) => {
      // Sets stay as they are, only larger: answers do not depend on this thread.
      this.#log.error({ err: error }, 'sets of holdings are not packed any more');
      this.#running.clear();
      this.#isStopped = true;
    });
    worker.unref();
    this.#worker = worker;
    return worker;
  }
}
