/**
 * Looks again at what passes from tier to tier: finished plans are served by, peak by peak, from the leaves up, and what comes out must
 * be what the plan claims. A tier that was planned for demand that the leaves below serve themselves is refused here.
 *
 * Shape: (families, what each box holds after expansion, demand of each cluster's viewers, claims) -> refusals
 */
import { formatBps } from '#base/units.ts';
import { serveInPlace, type HoldingBox } from './placement/residual.ts';

const TOLERANCE = 1e-6; // ties in an order are parted by units in the last place

export interface FlowClaim {
  readonly servedBps: number;
  readonly demandBps: number;
  readonly valueBps: number;
  readonly boundBps: number;
}

export interface FlowCluster {
  readonly clusterId: string;
  readonly parentId: string | null;
}

export interface FlowCheckInput {
  readonly families: readonly (readonly FlowCluster[])[]; // children before parents
  readonly boxesOf: (
    clusterId: string,
  ) => readonly (HoldingBox & { readonly rows: readonly number[] })[];
  /** View-bytes a day by row of the cluster's own viewers. */
  readonly viewBytesOf: (clusterId: string) => Float64Array;
  readonly claims: ReadonlyMap<string, FlowClaim>;
  readonly slotFactors: readonly number[];
}

export function flowRefusals(given: FlowCheckInput): readonly string[] {
  const refusals: string[] = [];
  for (const family of given.families) {
    const found = new Map<string, { served: number; demand: number }>();
    for (const factor of given.slotFactors) {
      const left = new Map<string, Float64Array>();
      for (const { clusterId, parentId } of family) {
        const demand = given.viewBytesOf(clusterId).map((bytes) => factor * bytes);
        left.get(clusterId)?.forEach((bps, row) => (demand[row] += bps));
        const sums = found.get(clusterId) ?? { served: 0, demand: 0 };
        for (const bps of demand) sums.demand += bps;
        const boxes = given.boxesOf(clusterId);
        const held = boxes.map(({ rows }) => {
          const own = new Uint8Array(demand.length);
          for (const row of rows) own[row] = 1;
          return own;
        });
        sums.served += serveInPlace(boxes, held, demand);
        found.set(clusterId, sums);
        if (parentId === null) continue;
        const above = left.get(parentId);
        if (above === undefined) left.set(parentId, demand);
        else demand.forEach((bps, row) => (above[row] += bps));
      }
    }
    for (const { clusterId } of family) {
      const claim = given.claims.get(clusterId);
      const sums = found.get(clusterId);
      if (claim === undefined || sums === undefined) continue;
      refusals.push(...claimRefusals(clusterId, claim, sums));
    }
  }
  return refusals;
}

function claimRefusals(
  clusterId: string,
  claim: FlowClaim,
  { served, demand }: { readonly served: number; readonly demand: number },
): readonly string[] {
  const slack = TOLERANCE * Math.max(1, demand);
  const name = `cluster ${clusterId}`;
  const refusals: string[] = [];
  if (!(Math.abs(demand - claim.demandBps) <= slack)) {
    refusals.push(
      `${name}: planned for ${formatBps(claim.demandBps)} of demand, ${formatBps(demand)} reach it by these plans`,
    );
  }
  if (!(Math.abs(served - claim.servedBps) <= slack)) {
    refusals.push(
      `${name}: ${formatBps(claim.servedBps)} are said to be served, ${formatBps(served)} are by these plans`,
    );
  }
  if (!(claim.valueBps <= claim.boundBps * (1 + TOLERANCE) + TOLERANCE)) {
    refusals.push(`${name}: worth ${claim.valueBps}, above its proven bound ${claim.boundBps}`);
  }
  return refusals;
}
