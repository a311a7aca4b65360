/**
 * The decision log on disk: a few files in turn, each replayable by itself.
 *
 * Errors:     a full or failing disk never stops an answer: records are left out, counted, and the next file starts whole
 * Invariants: (1) at most `files` files of about `fileBytesMax` each
 *             (2) at most BACKLOG_BYTES_MAX wait in memory
 */
import { createWriteStream, mkdirSync, readdirSync, rmSync, type WriteStream } from 'node:fs';
import path from 'node:path';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { FleetDelta, FleetSnapshot } from '#control-plane/contract.ts';
import type { PlayDecision, PlayRefusal } from '../answer.ts';
import type { World } from '../candidates.ts';
import type { PlayRequest } from '../contract.ts';
import { loadRecord, playRecord, type LogRecord } from '../decision-log.ts';
import { holdsTooMuchForText, snapshotOf, type Fleet } from '../fleet.ts';
import type { LoadFrame } from '../load.ts';

const BACKLOG_BYTES_MAX = 8 * 1024 * 1024;

export interface DecisionLogOptions {
  readonly directory: string;
  readonly fileBytesMax: number;
  readonly files: number; // 0: no log
  readonly perSecondMax: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly heldInTextMax?: number; // for tests: a small fleet that counts as a large one
}

export class DecisionLogFile {
  readonly #options: DecisionLogOptions;
  #stream: WriteStream | null = null;
  #bytes = 0;
  #version = 0; // of the snapshot that the file's records stand on
  #frame: LoadFrame | null = null;
  #second = 0;
  #inSecond = 0;
  #tooLarge: WeakRef<Fleet> | null = null;
  written = 0;
  leftOut = 0;

  constructor(options: DecisionLogOptions) {
    this.#options = options;
  }

  /** A message that was taken in. A file that stood on the version before it goes on; another one starts anew later. */
  message(message: FleetSnapshot | FleetDelta): void {
    if (this.#stream === null) return;
    const follows = message.kind === 'delta' && message.baseVersion === this.#version;
    if (!follows) return this.#close();
    this.#write({ t: 'delta', delta: message });
    this.#version = message.version;
    this.#frame = null;
  }

  play(world: World, request: PlayRequest, decision: PlayDecision | PlayRefusal): void {
    const { files, perSecondMax, clock } = this.#options;
    if (files === 0) return;
    const second = Math.floor(clock.monotonicMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#inSecond = 0;
    }
    if (++this.#inSecond > perSecondMax) {
      this.leftOut++;
      return;
    }
    if (this.#stream === null || this.#version !== world.fleet.epochs.snapshot) this.#open(world);
    if (this.#stream === null) {
      this.leftOut++;
      return;
    }
    if (this.#frame !== world.load) {
      this.#write(loadRecord(world.load));
      this.#frame = world.load;
    }
    this.#write(playRecord(world, request, decision));
    this.written++;
    if (this.#bytes > this.#options.fileBytesMax) this.#close();
  }

  stop(): Promise<void> {
    const stream = this.#stream;
    this.#stream = null;
    if (stream === null) return Promise.resolve();
    return new Promise((resolve) => {
      stream.once('close', () => resolve());
      stream.end();
    });
  }

  #open(world: World): void {
    const { directory, files, clock, log } = this.#options;
    this.#close();
    // A replay needs the whole fleet. Looked at once per fleet: a large one stays large.
    if (this.#tooLarge?.deref() === world.fleet) return;
    if (holdsTooMuchForText(world.fleet, this.#options.heldInTextMax)) {
      if (this.#tooLarge === null) {
        log.warn(
          'the boxes hold more files than a decision log can list: decisions are not logged',
        );
      }
      this.#tooLarge = new WeakRef(world.fleet);
      return;
    }
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const old = readdirSync(directory)
        .filter((name) => name.endsWith('.ndjson'))
        .sort();
      for (const name of old.slice(0, Math.max(0, old.length - files + 1))) {
        rmSync(path.join(directory, name), { force: true });
      }
    } catch (thrown) {
      log.warn({ err: thrown }, 'the decision log cannot be kept');
      return;
    }
    const at = new Date(clock.wallMs()).toISOString().replaceAll(':', '');
    const name = `${at}-${world.load.epoch}.ndjson`;
    const stream = createWriteStream(path.join(directory, name), { mode: 0o600 });
    stream.on('error', (error) => {
      log.warn({ err: error }, 'the decision log cannot be written');
      if (this.#stream === stream) this.#stream = null;
    });
    this.#stream = stream;
    this.#bytes = 0;
    this.#frame = null;
    this.#version = world.fleet.epochs.snapshot;
    this.#write({ t: 'snapshot', snapshot: snapshotOf(world.fleet) });
  }

  #write(record: LogRecord): void {
    if (this.#stream === null) return;
    if (this.#stream.writableLength > BACKLOG_BYTES_MAX) {
      this.leftOut++;
      this.#close(); // a hole would make the rest unreadable: the next decision starts a new file
      return;
    }
    const line = `${JSON.stringify(record)}\n`;
    this.#bytes += line.length;
    this.#stream.write(line);
  }

  #close(): void {
    this.#stream?.end();
    this.#stream = null;
  }
}
