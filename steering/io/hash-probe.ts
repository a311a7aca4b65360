/**
 * A rare, whole look: one chunk of a file that a box says it holds, read as a viewer would and hashed against the file's id.
 *
 * All steering nodes together read a chunk of each box once in five minutes, each box by the node whose turn it is (hash-turns.ts).
 * Wrong bytes leave a box out until a later chunk of it is right; that it does not answer is the other probes' business.
 */
import { request, Agent } from 'undici';
import type { Clock, Milliseconds, Timer } from '#base/clock.ts';
import type { Random } from '#base/random.ts';
import type { ApplianceId } from '#control-plane/contract.ts';
import {
  CHUNK_BYTES,
  chunkLengthOf,
  chunkListPath,
  chunkListBytesOf,
  chunkMatches,
  decodeChunkList,
  signedContentUrl,
  type ChunkList,
} from '#upstream/contract.ts';
import type { Fleet, FleetAppliance, FleetTitle } from '../fleet.ts';
import { turnsOf } from '../hash-turns.ts';
import { holds } from '../holdings.ts';

const TICK_MS = 1000;
const CAUGHT_UP_MS_MAX = 10_000; // turns of a longer pause are let go: not all of them at once
const DEADLINE_MS = 20_000;
const DRAWS_MAX = 32; // titles looked at for one that the box holds

export interface HashProbeDeps {
  readonly nodeId: string;
  readonly nodeIds: () => readonly string[]; // of all that live, as far as known
  readonly clock: Clock;
  readonly random: Random;
  readonly fleet: () => Fleet | null;
  readonly tokenFor: (title: FleetTitle) => Promise<string>;
  /** Null: every byte was the file's. */
  readonly onResult: (applianceId: ApplianceId, problem: string | null) => void;
}

export class HashProbe {
  readonly #deps: HashProbeDeps;
  readonly #agent = new Agent({ keepAliveTimeout: 1, connections: 1 });
  #timer: Timer | null = null;
  #lookedUntilMs: Milliseconds; // wall clock
  #isStopped = false;
  read = 0;

  constructor(deps: HashProbeDeps) {
    this.#deps = deps;
    this.#lookedUntilMs = deps.clock.wallMs();
  }

  start(): void {
    this.#timer = this.#deps.clock.every(TICK_MS, () => this.#tick());
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#agent.destroy();
  }

  #tick(): void {
    const { clock, nodeId, nodeIds } = this.#deps;
    const nowMs = clock.wallMs();
    const fromMs = Math.max(this.#lookedUntilMs, nowMs - CAUGHT_UP_MS_MAX);
    this.#lookedUntilMs = nowMs;
    const fleet = this.#deps.fleet();
    if (fleet === null) return;
    for (const at of turnsOf(fleet.appliances, nodeIds(), nodeId, fromMs, nowMs)) {
      const box = fleet.appliances[at];
      if (box.entry.standing === 'serving') void this.probe(fleet, box);
    }
  }

  /** One chunk of one box; nothing where it holds no file of a title that is listed. */
  async probe(fleet: Fleet, box: FleetAppliance): Promise<void> {
    const found = drawHeld(fleet, box, this.#deps.random);
    if (found === null) return;
    const { title, file } = found;
    const { titleId } = title.title;
    const token = await this.#deps.tokenFor(title);
    const url = signedContentUrl(box.baseUrl, token, titleId, file.fileId);
    const size = file.sizeBytes;
    try {
      const listUrl = url.replace(
        `/t/${titleId}/${file.fileId}`,
        chunkListPath(titleId, file.fileId),
      );
      const encoded = await this.#get(listUrl, null, chunkListBytesOf(size));
      if (encoded === null) return;
      const list = decodeChunkList(encoded, file.fileId);
      if (!list.ok) {
        return this.#conclude(
          box,
          `the chunk list of ${file.fileId} is not of that file: ${list.failure}`,
        );
      }
      await this.#checkChunk(box, list.value, url, file.fileId);
    } catch {
      // It did not answer, or too late: not a word about its bytes.
    }
  }

  async #checkChunk(
    box: FleetAppliance,
    list: ChunkList,
    url: string,
    fileId: string,
  ): Promise<void> {
    const index = this.#deps.random.below(list.chunkCount);
    const from = index * CHUNK_BYTES;
    const end = from + chunkLengthOf(list, index) - 1;
    const bytes = await this.#get(url, `bytes=${from}-${end}`, CHUNK_BYTES);
    if (bytes === null) return;
    this.read++;
    const isRight = chunkMatches(list, index, bytes);
    this.#conclude(box, isRight ? null : `chunk ${index} of ${fileId} is not what its hash says`);
  }

  #conclude({ applianceId }: FleetAppliance, problem: string | null): void {
    if (!this.#isStopped) this.#deps.onResult(applianceId, problem);
  }

  /** Null for any answer that has no content: it is not this probe that says so. */
  async #get(url: string, range: string | null, bytesMax: number): Promise<Buffer | null> {
    const answer = await request(url, {
      dispatcher: this.#agent,
      headers: range === null ? {} : { range },
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (answer.statusCode !== 200 && answer.statusCode !== 206) {
      await answer.body.dump();
      return null;
    }
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of answer.body as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > bytesMax) {
        answer.body.destroy();
        return Buffer.concat(parts);
      }
      parts.push(part);
    }
    return Buffer.concat(parts);
  }
}

export interface HeldFile {
  readonly title: FleetTitle;
  readonly file: FleetTitle['title']['files'][number];
}

const titleLists = new WeakMap<Fleet['titles'], readonly FleetTitle[]>();

/** Some file that a box holds, null where none was found in DRAWS_MAX titles. */
export function drawHeld(
  { titles }: Pick<Fleet, 'titles'>,
  { holdings }: FleetAppliance,
  random: Random,
): HeldFile | null {
  let all = titleLists.get(titles);
  if (all === undefined) {
    all = [...titles.values()];
    titleLists.set(titles, all);
  }
  for (let draw = 0; draw < Math.min(DRAWS_MAX, all.length * 2); draw++) {
    const title = all[random.below(all.length)];
    const held = title.title.files.filter(({ ordinal }) => holds(holdings, ordinal));
    if (held.length > 0) return { title, file: held[random.below(held.length)] };
  }
  return null;
}
