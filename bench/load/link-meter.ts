/**
 * How much of each link of `links.ts` is used, second by second, as the kernel counts it: where a fill's time went.
 *
 * Shape: the links' rates -> per link and way: the share of its rate that was carried, and seconds in which it carried less than half
 * Units: bytes of frames on the wire, headers included, as the rate of a link is
 */
import { readFileSync } from 'node:fs';

const PERIOD_MS = 1000;
const SAID_EVERY = 5;

export interface LinkUse {
  readonly share: number; // of what the link could carry
  readonly secondsSlack: number; // it carried less than half
}

interface Way {
  readonly name: string; // "origin up": towards the core
  readonly device: string;
  readonly column: number; // of /proc/net/dev
  readonly bps: number;
  readonly firstBytes: number;
  bytes: number;
  atMs: number;
  lastBps: number;
  secondsSlack: number;
}

/** Must run inside the core. Measures from its making to `close`. */
export class LinkMeter implements Disposable {
  readonly #ways: readonly Way[];
  readonly #startMs = performance.now();
  readonly #say: (text: string) => void;
  readonly #timer: NodeJS.Timeout;
  #seconds = 0;

  constructor(
    links: readonly { readonly name: string; readonly bps: number }[],
    say: (text: string) => void,
  ) {
    this.#say = say;
    const counted = countedBytes();
    this.#ways = links.flatMap(({ name, bps }) =>
      (['up', 'down'] as const).map((way) => {
        const device = `to-${name}`;
        const column = way === 'up' ? 0 : 8; // what the core's end received, and sent
        const bytes = counted(device, column);
        const start = {
          firstBytes: bytes,
          bytes,
          atMs: this.#startMs,
          lastBps: 0,
          secondsSlack: 0,
        };
        return { name: `${name} ${way}`, device, column, bps, ...start };
      }),
    );
    this.#timer = setInterval(() => this.#sample(), PERIOD_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  use(): Readonly<Record<string, LinkUse>> {
    this.#sample();
    const seconds = (performance.now() - this.#startMs) / 1000;
    return Object.fromEntries(
      this.#ways.map(({ name, bps, bytes, firstBytes, secondsSlack }) => {
        const share = ((bytes - firstBytes) * 8) / (bps * seconds);
        return [name, { share: Math.round(share * 1000) / 1000, secondsSlack }];
      }),
    );
  }

  #sample(): void {
    const counted = countedBytes();
    const nowMs = performance.now();
    for (const way of this.#ways) {
      const bytes = counted(way.device, way.column);
      const seconds = (nowMs - way.atMs) / 1000;
      way.lastBps = ((bytes - way.bytes) * 8) / seconds;
      if (seconds > 0.5 && way.lastBps < way.bps / 2) way.secondsSlack++;
      way.bytes = bytes;
      way.atMs = nowMs;
    }
    if (++this.#seconds % SAID_EVERY !== 0) return;
    const rates = this.#ways.map(({ name, lastBps }) => `${name} ${(lastBps / 1e6).toFixed(0)}`);
    this.#say(`Mbit/s: ${rates.join(', ')}`);
  }
}

function countedBytes(): (device: string, column: number) => number {
  const lines = readFileSync('/proc/net/dev', 'utf8').split('\n');
  return (device, column) => {
    const line = lines.find((text) => text.trimStart().startsWith(`${device}:`));
    if (line === undefined) throw new Error(`there is no ${device}: not inside the core`);
    return Number(
      line
        .slice(line.indexOf(':') + 1)
        .trim()
        .split(/\s+/)[column],
    );
  };
}
