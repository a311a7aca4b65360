/**
 * The deny list for whoever serves but has no heartbeat connection (the origin): asked for each second, kept on disk, swapped whole.
 *
 * Errors:     none to the caller; the list in force stays in force
 * Invariants: (1) no list counts that a manifest key did not sign
 *             (2) the version never goes back, also over a restart
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { request } from 'undici';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import { SECOND_MS } from '#base/units.ts';
import { DENIALS_BYTES_MAX, openDenials, type KeyRing } from '../contract.ts';
import { DenySet } from '../denials.ts';

const POLL_MS = SECOND_MS;
const DEADLINE_MS = 2 * SECOND_MS;

export interface DenialFeedOptions {
  readonly controlPlaneUrl: string;
  readonly keys: () => KeyRing | null;
  readonly lastGoodPath: string; // a file in the caller's state directory
  readonly clock: Clock;
  readonly log: Logger;
}

export interface DenialFeed {
  current(): DenySet;
  /** Reads the list on disk, asks once, then each second. Resolves when the first question is over. */
  start(): Promise<void>;
  stop(): void;
}

export function createDenialFeed(options: DenialFeedOptions): DenialFeed {
  return new PolledDenials(options);
}

class PolledDenials implements DenialFeed {
  readonly #options: DenialFeedOptions;
  #set = new DenySet(0, 0, []);
  #timer: Timer | null = null;
  #isAsking = false;

  constructor(options: DenialFeedOptions) {
    this.#options = options;
  }

  current(): DenySet {
    return this.#set;
  }

  async start(): Promise<void> {
    const kept = readOrNull(this.#options.lastGoodPath);
    if (kept !== null) await this.#offer(kept, false);
    await this.#ask();
    this.#timer = this.#options.clock.every(POLL_MS, () => void this.#ask());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const answer = await request(`${this.#options.controlPlaneUrl}/v1/denials.jws`, {
        headers: { 'if-none-match': `"${this.#set.version}"` },
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      if (answer.statusCode !== 200) {
        answer.body.on('error', () => {}).destroy();
        return;
      }
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > DENIALS_BYTES_MAX) return void answer.body.destroy();
        parts.push(part);
      }
      await this.#offer(Buffer.concat(parts).toString('latin1'), true);
    } catch {
      // The control plane is away: what was denied stays denied.
    } finally {
      this.#isAsking = false;
    }
  }

  async #offer(text: string, isNew: boolean): Promise<void> {
    const { keys, lastGoodPath, log } = this.#options;
    const ring = keys();
    if (ring === null) return;
    const opened = await openDenials(text, ring);
    if (!opened.ok) {
      log.error({ event: 'denials-refused' }, `a deny list is not taken: ${opened.failure}`);
      return;
    }
    const { version, denials } = opened.value;
    if (version <= this.#set.version) return;
    this.#set = new DenySet(version, version, denials);
    log.info({ event: 'denials-taken', version, denials: denials.length }, 'deny list taken');
    if (!isNew) return;
    try {
      writeFileSync(`${lastGoodPath}.tmp`, text);
      renameSync(`${lastGoodPath}.tmp`, lastGoodPath);
    } catch (thrown) {
      log.warn(
        { file: lastGoodPath, why: messageOf(thrown) },
        'the deny list was not kept on disk',
      );
    }
  }
}

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return null; // never taken, or not readable: asked for in a moment
  }
}
