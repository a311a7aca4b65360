/**
 * What the origin gave away, by purpose: the two figures that offload is made of.
 *
 * Units: bytes of bodies, counted as they are handed to the connection
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { Access } from './access.ts';

export class OriginCounters {
  viewerBytes = 0;
  missBytes = 0;
  fillBytes = 0;
  requests = 0;
  connections = 0;
  readonly #refused = new Map<string, number>();

  sent(to: Access, bytes: number): void {
    if (to.kind === 'viewer') this.viewerBytes += bytes;
    else if (to.kind === 'box' && to.purpose === 'fill') this.fillBytes += bytes;
    else this.missBytes += bytes;
  }

  /** `why` comes from a closed set of words: the map stays small. */
  refused(why: string): void {
    this.#refused.set(why, (this.#refused.get(why) ?? 0) + 1);
  }

  /** serveBytes: on demand, to viewers directly and to boxes for a viewer who waits. */
  status(): {
    readonly serveBytes: number;
    readonly fillBytes: number;
    readonly missBytes: number;
    readonly viewerBytes: number;
    readonly requests: number;
    readonly refused: Readonly<Record<string, number>>;
  } {
    return {
      serveBytes: this.viewerBytes + this.missBytes,
      fillBytes: this.fillBytes,
      missBytes: this.missBytes,
      viewerBytes: this.viewerBytes,
      requests: this.requests,
      refused: Object.fromEntries(this.#refused),
    };
  }

  /** Metrics read the plain numbers when they are asked: the serving path pays nothing for them. */
  registry(keyVersion: () => number): Registry {
    const registry = new Registry();
    const add = (name: string, help: string, label: string | null, rows: () => Rows): void => {
      const counter: Counter = new Counter({
        name,
        help,
        labelNames: label === null ? [] : [label],
        registers: [registry],
        collect: () => {
          counter.reset();
          for (const [value, count] of rows()) {
            if (label === null) counter.inc(count);
            else counter.inc({ [label]: value }, count);
          }
        },
      });
    };
    add('nightfill_origin_sent_bytes_total', 'Body bytes sent, by purpose', 'purpose', () => [
      ['viewer', this.viewerBytes],
      ['miss', this.missBytes],
      ['fill', this.fillBytes],
    ]);
    add('nightfill_origin_requests_total', 'Requests for content', null, () => [
      ['', this.requests],
    ]);
    add('nightfill_origin_refused_total', 'Requests refused, by reason', 'reason', () => [
      ...this.#refused,
    ]);
    const connections: Gauge = new Gauge({
      name: 'nightfill_origin_connections',
      help: 'Open content connections',
      registers: [registry],
      collect: () => connections.set(this.connections),
    });
    const keys: Gauge = new Gauge({
      name: 'nightfill_origin_key_set_version',
      help: 'Version of the key set in use, 0 for none',
      registers: [registry],
      collect: () => keys.set(keyVersion()),
    });
    return registry;
  }
}

type Rows = readonly (readonly [value: string, count: number])[];
