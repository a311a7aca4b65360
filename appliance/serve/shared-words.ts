/**
 * What serving threads and their owner share without a message: how many connections are open, and which files are lent.
 *
 * A lent file is a place in `memory` with a generation in it. The owner changes the generation and from that moment no thread begins
 * an answer from that file: what turned out bad, left, or is on a disk that failed is gone for all threads at once.
 *
 * Invariants: (1) a place is used again only after everybody gave back what was lent at it
 *             (2) `connections` is what all threads and the owner hold together
 */
const CONNECTIONS = 0;
const EPOCH = 1;
const STANDING = 2;
const FIRST_PLACE = 16; // a cache line of its own
export const LENT_FILES_MAX = 16_384;

export class SharedWords {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(memory = new SharedArrayBuffer((FIRST_PLACE + LENT_FILES_MAX) * 4)) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
  }

  get connections(): number {
    return Atomics.load(this.#words, CONNECTIONS);
  }

  /** One more, where there are fewer than `most`: whoever closes it says `left`, in whichever thread. */
  enter(most: number): boolean {
    if (Atomics.add(this.#words, CONNECTIONS, 1) < most) return true;
    this.left();
    return false;
  }

  left(): void {
    Atomics.sub(this.#words, CONNECTIONS, 1);
  }

  /** Passes of an earlier epoch hold no more: keys changed. */
  get epoch(): number {
    return Atomics.load(this.#words, EPOCH);
  }

  nextEpoch(): void {
    Atomics.add(this.#words, EPOCH, 1);
  }

  /** Version of what holds for all requests (gate, deny list): a thread that was not told of it yet asks its owner. */
  get standing(): number {
    return Atomics.load(this.#words, STANDING);
  }

  nextStanding(): number {
    return Atomics.add(this.#words, STANDING, 1) + 1;
  }

  generation(place: number): number {
    return Atomics.load(this.#words, FIRST_PLACE + place);
  }

  /** The owner's word: what was lent at this place may not be used for a new answer. */
  takeBack(place: number): void {
    Atomics.add(this.#words, FIRST_PLACE + place, 1);
  }
}
