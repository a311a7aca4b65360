/**
 * Our own look at boxes: a TCP connect within 200 ms, then the first KiB of a file that it holds, as a viewer would ask for it, on the
 * same connection; `HEAD /` where no file of it is known.
 *
 * Boxes in doubt are probed every period; with the control plane gone, all are, as far as the rate allows. Any HTTP answer counts as
 * an answer: the question is whether the box is there, not what it thinks of the path. Only one that promises bytes must send them: a
 * process that answers over a disk that hangs is no use to a viewer.
 *
 * Invariants: (1) one probe per box at a time; at most `perSecondMax` probes a second
 *             (2) every probe ends within connectMs + requestMs
 */
import net from 'node:net';
import type { Clock, Milliseconds, Timer } from '#base/clock.ts';
import { codeOf } from '#base/outcome.ts';
import type { ProbeResult } from '../evidence.ts';

export interface ProbeLimits {
  readonly periodMs: Milliseconds;
  readonly connectMs: Milliseconds;
  readonly requestMs: Milliseconds;
  readonly perSecondMax: number;
  readonly fromAddresses: readonly string[]; // at most one a family; a family without one: as the system chooses
}

export interface ProbeTarget {
  readonly key: string; // of what is judged: a box over one family
  readonly id: string;
  readonly baseUrl: string;
  readonly family: 0 | 4 | 6; // 0: any
}

export interface ProberOptions {
  readonly limits: ProbeLimits;
  readonly clock: Clock;
  /** Path of a file that the box holds, with a viewer's token in it; null: none is known. */
  readonly pathOf: (target: ProbeTarget) => Promise<string | null>;
  /** Boxes to look at now, most doubtful first. No further one is asked for than the rate allows. */
  readonly targets: () => Iterable<ProbeTarget>;
  /** 'no-address': nothing to reach it by over this family, here or there; says nothing about the box. */
  readonly onResult: (target: ProbeTarget, result: ProbeResult | 'no-address') => void;
}

const TICK_MS = 50;
const REMEMBERED_MAX = 8192; // what was probed longer ago than a period need not be remembered
const PROBED_BYTES = 1024;
const HEAD_BYTES_MAX = 16 * 1024;
/** The name has no address of this family, or this machine no route for it. */
const NO_ADDRESS: ReadonlySet<string> = new Set([
  'ENOTFOUND',
  'ENODATA',
  'EAI_NODATA',
  'EAI_ADDRFAMILY',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
]);

export class Prober {
  readonly #options: ProberOptions;
  readonly #lastMs = new Map<string, Milliseconds>();
  readonly #running = new Set<string>();
  readonly #sockets = new Set<net.Socket>();
  #allowance = 0;
  #timer: Timer | null = null;
  probes = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.clock.every(TICK_MS, () => this.#tick());
  }

  stop(): void {
    this.#timer?.cancel();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Looks at one box at the next tick, whenever it was looked at last. */
  hurry(key: string): void {
    this.#lastMs.delete(key);
  }

  #tick(): void {
    const { limits, clock, targets } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#allowance = Math.min(
      Math.max(1, limits.perSecondMax / 4),
      this.#allowance + (limits.perSecondMax * TICK_MS) / 1000,
    );
    if (this.#allowance < 1) return; // not worth a walk through the fleet
    if (this.#lastMs.size > REMEMBERED_MAX) this.#forget(nowMs - limits.periodMs);
    for (const target of targets()) {
      const lastMs = this.#lastMs.get(target.key) ?? -Infinity;
      if (nowMs - lastMs < limits.periodMs || this.#running.has(target.key)) continue;
      this.#allowance--;
      this.#lastMs.set(target.key, nowMs);
      void this.#probe(target);
      if (this.#allowance < 1) return;
    }
  }

  #forget(beforeMs: Milliseconds): void {
    for (const [key, lastMs] of this.#lastMs) if (lastMs <= beforeMs) this.#lastMs.delete(key);
  }

  async #probe(target: ProbeTarget): Promise<void> {
    this.#running.add(target.key);
    this.probes++;
    // Without a token there is still the question whether it is there.
    const path = await this.#options.pathOf(target).catch(() => null);
    const result = await this.#ask(target, path);
    this.#running.delete(target.key);
    this.#options.onResult(target, result);
  }

  #ask({ baseUrl, family }: ProbeTarget, path: string | null): Promise<ProbeResult | 'no-address'> {
    const { limits, clock } = this.#options;
    const url = new URL(baseUrl);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const isTls = url.protocol === 'https:';
    const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
    return new Promise((resolve) => {
      const from = limits.fromAddresses.find((address) => net.isIP(address) === family);
      const socket = net.connect({
        host,
        port,
        family,
        ...(from === undefined ? {} : { localAddress: from }),
      });
      this.#sockets.add(socket);
      let timer = clock.after(limits.connectMs, () => end('timed-out'));
      const end = (result: ProbeResult | 'no-address'): void => {
        timer.cancel();
        this.#sockets.delete(socket);
        socket.destroy();
        resolve(result);
      };
      socket.on('connect', () => {
        timer.cancel();
        // A TLS box that accepts is there; its certificate is the players' business.
        if (isTls) return end('answered');
        timer = clock.after(limits.requestMs, () => end('timed-out'));
        socket.write(requestText(url.host, path));
      });
      let received = '';
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        const verdict = verdictOf(received, path !== null);
        if (verdict !== 'wait') end(verdict);
      });
      // Closed before it answered: the process died under the connection, or will not speak to us.
      socket.on('close', () => end('refused'));
      socket.on('error', (error) => {
        const code = codeOf(error);
        if (family !== 0 && NO_ADDRESS.has(code)) return end('no-address');
        end(
          code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === 'EPIPE'
            ? 'refused'
            : 'timed-out',
        );
      });
    });
  }
}

function requestText(host: string, path: string | null): string {
  const what =
    path === null
      ? 'HEAD / HTTP/1.1'
      : `GET ${path} HTTP/1.1\r\nRange: bytes=0-${PROBED_BYTES - 1}`;
  return `${what}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
}

/** What was received so far says it, or not yet. */
export function verdictOf(received: string, hasBody: boolean): ProbeResult | 'wait' {
  const line = /^HTTP\/1\.\d (\d{3})/.exec(received);
  if (line === null) {
    const isBegun = 'HTTP/1.'.startsWith(received.slice(0, 'HTTP/1.'.length));
    return isBegun || (received.startsWith('HTTP/1.') && received.length < 'HTTP/1.1 200'.length)
      ? 'wait'
      : 'refused';
  }
  const isContent = line[1] === '200' || line[1] === '206';
  if (!hasBody || !isContent) return 'answered';
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return received.length > HEAD_BYTES_MAX ? 'refused' : 'wait';
  const length = /\r\ncontent-length: *(\d+)/i.exec(received.slice(0, headEnd))?.[1];
  const wanted = Math.min(PROBED_BYTES, Number(length ?? PROBED_BYTES));
  return received.length - (headEnd + 4) >= wanted ? 'answered' : 'wait';
}
