/**
 * A binary min-heap over dense ids with one float priority each: insert, change, pop in O(log n), membership in O(1).
 * Ties go to the smaller `order`, which the caller numbers.
 */
export class IndexedHeap {
  readonly #ids: Int32Array;
  readonly #positions: Int32Array; // id -> index in #ids, -1 where absent
  readonly #priorities: Float64Array;
  readonly #orders: Float64Array;
  #count = 0;

  constructor(objects: number) {
    this.#ids = new Int32Array(objects);
    this.#positions = new Int32Array(objects).fill(-1);
    this.#priorities = new Float64Array(objects);
    this.#orders = new Float64Array(objects);
  }

  has(id: number): boolean {
    return this.#positions[id] !== -1;
  }

  priorityOf(id: number): number {
    return this.#priorities[id];
  }

  /** The member with the lowest priority. The heap must not be empty. */
  lowest(): number {
    return this.#ids[0];
  }

  /** Inserts, or moves to a new priority. */
  set(id: number, priority: number, order: number): void {
    this.#priorities[id] = priority;
    this.#orders[id] = order;
    if (this.#positions[id] === -1) {
      this.#positions[id] = this.#count;
      this.#ids[this.#count] = id;
      this.#count++;
    }
    this.#up(this.#positions[id]);
    this.#down(this.#positions[id]);
  }

  remove(id: number): void {
    const at = this.#positions[id];
    this.#positions[id] = -1;
    this.#count--;
    if (at === this.#count) return;
    const moved = this.#ids[this.#count];
    this.#ids[at] = moved;
    this.#positions[moved] = at;
    this.#up(at);
    this.#down(this.#positions[moved]);
  }

  #isBefore(a: number, b: number): boolean {
    const difference = this.#priorities[a] - this.#priorities[b];
    return difference < 0 || (difference === 0 && this.#orders[a] < this.#orders[b]);
  }

  #up(start: number): void {
    let at = start;
    const id = this.#ids[at];
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#ids[parentAt];
      if (!this.#isBefore(id, parent)) break;
      this.#ids[at] = parent;
      this.#positions[parent] = at;
      at = parentAt;
    }
    this.#ids[at] = id;
    this.#positions[id] = at;
  }

  #down(start: number): void {
    let at = start;
    const id = this.#ids[at];
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= this.#count) break;
      const right = childAt + 1;
      if (right < this.#count && this.#isBefore(this.#ids[right], this.#ids[childAt]))
        childAt = right;
      const child = this.#ids[childAt];
      if (!this.#isBefore(child, id)) break;
      this.#ids[at] = child;
      this.#positions[child] = at;
      at = childAt;
    }
    this.#ids[at] = id;
    this.#positions[id] = at;
  }
}
