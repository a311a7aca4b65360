/**
 * What was asked for lately and is not here: chunks that were passed on without being kept, files that left, with their heat.
 *
 * Bounded: what is forgotten counts as never seen.
 */
import { LRUCache } from 'lru-cache';
import type { Heat } from './heat.ts';

const CHUNKS_MAX = 65_536;
const FILES_MAX = 65_536;

export class ReactiveMemory<File extends string | number> {
  readonly #chunks = new LRUCache<string, true>({ max: CHUNKS_MAX });
  readonly #left = new LRUCache<File, Heat>({ max: FILES_MAX });

  /** Notes that a chunk was fetched for a viewer. True where it, or its file, was here or asked for lately. */
  fetched(file: File, index: number): boolean {
    const key = `${file}:${index}`;
    const isKnown = this.#chunks.has(key) || this.#left.has(file);
    this.#chunks.set(key, true);
    return isKnown;
  }

  /** A file left for want of room. */
  left(file: File, heat: Heat): void {
    this.#left.set(file, heat);
  }

  /** Heat that the file left with; it is here again. Null where it is not remembered. */
  takeBack(file: File): Heat | null {
    const heat = this.#left.get(file) ?? null;
    this.#left.delete(file);
    return heat;
  }

  heatOf(file: File): Heat | null {
    return this.#left.peek(file) ?? null;
  }
}
