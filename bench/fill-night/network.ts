/**
 * Bytes over shared links, in steps of time: each transfer takes its share of the scarcest link on its way.
 *
 * Shares are found in two rounds: every link is parted equally; what a transfer cannot use, because another link holds it
 * back, is parted once more among those that can. Close to max-min fairness, at a cost that does not grow with the rounds.
 *
 * Units: bits per second, bytes, seconds
 */
export class Link {
  readonly name: string;
  readonly bps: number;
  carriedBytes = 0;
  // Of the step under way.
  flows = 0;
  heldBackBps = 0;
  free = 0;

  constructor(name: string, bps: number) {
    this.name = name;
    this.bps = bps;
  }
}

export interface Transfer {
  readonly links: readonly Link[];
  readonly bytes: number;
  leftBytes: number;
  bps: number;
  readonly finished: (how: 'whole' | 'cut') => void;
}

const ROUNDS = 2;

export class Network {
  readonly #transfers = new Set<Transfer>();

  start(links: readonly Link[], bytes: number, finished: (how: 'whole' | 'cut') => void): Transfer {
    const transfer: Transfer = { links, bytes, leftBytes: bytes, bps: 0, finished };
    this.#transfers.add(transfer);
    return transfer;
  }

  cut(transfer: Transfer): void {
    if (this.#transfers.delete(transfer)) transfer.finished('cut');
  }

  get active(): number {
    return this.#transfers.size;
  }

  /** Moves bytes for `seconds`; what became whole is told in the order in which it began. */
  step(seconds: number): void {
    this.#share();
    const whole: Transfer[] = [];
    for (const transfer of this.#transfers) {
      const bytes = Math.min(transfer.leftBytes, (transfer.bps / 8) * seconds);
      transfer.leftBytes -= bytes;
      for (const link of transfer.links) link.carriedBytes += bytes;
      if (transfer.leftBytes < 1) whole.push(transfer);
    }
    for (const transfer of whole) {
      this.#transfers.delete(transfer);
      transfer.finished('whole');
    }
  }

  #share(): void {
    const links = new Set<Link>();
    for (const transfer of this.#transfers) {
      transfer.bps = Infinity;
      for (const link of transfer.links) links.add(link);
    }
    for (const link of links) link.free = link.bps;
    let open: readonly Transfer[] = [...this.#transfers];
    for (let round = 0; round < ROUNDS && open.length > 0; round++) {
      for (const link of links) link.flows = 0;
      for (const { links: path } of open) for (const link of path) link.flows++;
      for (const transfer of open) {
        const before = transfer.bps === Infinity ? 0 : transfer.bps;
        let more = Infinity;
        for (const link of transfer.links) more = Math.min(more, link.free / link.flows);
        transfer.bps = before + more;
      }
      for (const link of links) link.free = link.bps;
      for (const { links: path, bps } of this.#transfers) {
        for (const link of path) link.free = Math.max(0, link.free - bps);
      }
      open = open.filter(({ links: path }) => path.every((link) => link.free > link.bps * 0.01));
    }
  }
}
