/**
 * Other CDNs: where viewers go when no box of ours can take them, and what stands last in every list.
 *
 *   in order: paid for in any case (below its commit), then by cost; never above its cap or its day's budget
 *
 * Nobody reports what an external CDN carries for us: it is what we sent there, fading as viewers stop watching.
 *
 * Shape:      rankExternals(externals, loads, country) -> usable ones, best first; ledger.sent(...) for each answer that begins there
 * Units:      bits per second; money per 10^9 bytes
 * Invariants: (1) none above its cap or budget, none that our probes found unreachable, none that does not name the country
 *             (2) the same externals, loads and country give the same order
 */
import type { Milliseconds } from '#base/clock.ts';
import type { ExternalCdn } from '#control-plane/contract.ts';
import type { EvidenceName } from './evidence.ts';

/** What this node knows of one external CDN, frozen with the load epoch. */
export interface ExternalLoad {
  readonly evidence: EvidenceName;
  readonly regionBps: readonly number[]; // by region of the entry, all nodes together
  readonly spentToday: number; // money, all nodes together
}

/** A viewer stays about this long: what was sent fades with it. */
export const SESSION_FADE_MS = 30 * 60_000;
const DAY_MS = 24 * 3600 * 1000;
const BYTES_PER_GB = 1e9;

export function rankExternals(
  externals: readonly ExternalCdn[],
  loads: readonly ExternalLoad[],
  country: string | null,
): readonly ExternalCdn[] {
  const usable: { external: ExternalCdn; isBelowCommit: boolean }[] = [];
  externals.forEach((external, at) => {
    const region = regionOf(external, country);
    if (region === -1) return;
    const load = loads.at(at);
    const bps = load?.regionBps[region] ?? 0;
    const { commitBps, capBps } = external.regions[region];
    const isOut = load?.evidence === 'unreachable' || load?.evidence === 'suspect';
    const isBelowCommit = bps < commitBps;
    const isSpent =
      !isBelowCommit &&
      external.budgetPerDay !== undefined &&
      (load?.spentToday ?? 0) >= external.budgetPerDay;
    if (isOut || isSpent || bps >= capBps) return;
    usable.push({ external, isBelowCommit });
  });
  usable.sort(
    (a, b) =>
      Number(b.isBelowCommit) - Number(a.isBelowCommit) ||
      a.external.costPerGb - b.external.costPerGb ||
      (a.external.externalId < b.external.externalId ? -1 : 1),
  );
  return usable.map(({ external }) => external);
}

/** The region that counts for a country, -1 where it sends nobody there. An unknown country is only "*". */
export function regionOf({ regions }: ExternalCdn, country: string | null): number {
  return regions.findIndex(
    ({ countries }) => countries.includes('*') || (country !== null && countries.includes(country)),
  );
}

interface Sent {
  bps: number[];
  atMs: Milliseconds;
  day: number;
  spent: number; // by all nodes, as many as they were when it was sent
}

/** What this node sent where. Forgotten by a restart: caps then count from nothing, as after a quiet half hour. */
export class ExternalLedger {
  /** Steering nodes that share the players, this one counted. */
  liveNodes: number;
  readonly #sent = new Map<string, Sent>();

  constructor(liveNodes: number) {
    this.liveNodes = liveNodes;
  }

  sent(external: ExternalCdn, country: string | null, bps: number, atMs: Milliseconds): void {
    const region = regionOf(external, country);
    if (region === -1) return;
    const sent = this.#at(external, atMs);
    sent.bps[region] = (sent.bps[region] ?? 0) + bps;
  }

  freeze(
    externals: readonly ExternalCdn[],
    evidenceOf: (externalId: string) => EvidenceName,
    atMs: Milliseconds,
  ): readonly ExternalLoad[] {
    const known = new Set(externals.map(({ externalId }) => externalId));
    for (const id of this.#sent.keys()) if (!known.has(id)) this.#sent.delete(id);
    return externals.map((external) => {
      const { bps, spent } = this.#at(external, atMs);
      return {
        evidence: evidenceOf(external.externalId),
        regionBps: external.regions.map((_, at) => (bps[at] ?? 0) * this.liveNodes),
        spentToday: spent,
      };
    });
  }

  /** Brought up to `atMs`: what flowed since is paid above the commit, then it fades. */
  #at(external: ExternalCdn, atMs: Milliseconds): Sent {
    const day = Math.floor(atMs / DAY_MS);
    let sent = this.#sent.get(external.externalId);
    if (sent === undefined) {
      sent = { bps: [], atMs, day, spent: 0 };
      this.#sent.set(external.externalId, sent);
    }
    const elapsedMs = Math.max(0, atMs - sent.atMs);
    const left = Math.exp(-elapsedMs / SESSION_FADE_MS);
    external.regions.forEach(({ commitBps }, at) => {
      const bps = sent.bps[at] ?? 0;
      const paidBps = Math.max(0, bps - commitBps / this.liveNodes);
      // The integral of a fading flow, of which the paid part is taken as it was at the start.
      const bytes = (paidBps / 8) * (SESSION_FADE_MS / 1000) * (1 - left);
      sent.spent += (bytes / BYTES_PER_GB) * external.costPerGb * this.liveNodes;
      sent.bps[at] = bps * left;
    });
    sent.atMs = atMs;
    if (sent.day !== day) {
      sent.day = day;
      sent.spent = 0;
    }
    return sent;
  }
}
