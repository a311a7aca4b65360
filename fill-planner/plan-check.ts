/**
 * Looks at finished plans as if somebody else had made them: every refusal names the record, and a refused plan is not sent.
 *
 * Checked by expanding each plan exactly as the control plane will.
 *
 * Shape:  (plan set, input, what the placement meant) -> refusals, none when the plans may go out
 */
import { expandPlan, type Order, type Plan, type PlanSet } from './contract.ts';
import { placeableIn, type Catalogue } from './catalogue.ts';
import type { PlannerInput } from './contract.ts';
import { formatBytes } from '#base/units.ts';
import { flowRefusals, type FlowCheckInput } from './tier-check.ts';

const REFUSALS_MAX = 100;

export interface PlanCheckInput {
  readonly planSet: PlanSet;
  readonly input: Pick<PlannerInput, 'appliances' | 'sites' | 'holdings'>;
  readonly catalogue: Catalogue;
  readonly nightMs: number;
  readonly untilGraceMs: number;
  /** Per appliance: what its window lets it fill tonight. */
  readonly fillBytesOf: ReadonlyMap<string, number>;
  /** Per cluster: files of releases and the copies they are due. */
  readonly pinsOf: ReadonlyMap<
    string,
    readonly { readonly ordinal: number; readonly copies: number }[]
  >;
  /** Per appliance: the ordinals that placement chose. Absent where only the plans are known (`plan approve`). */
  readonly placed: ReadonlyMap<string, ReadonlySet<number>> | null;
  /** What the plans are said to serve, tier by tier; left out where only the plans are known. */
  readonly flow?: {
    readonly families: FlowCheckInput['families'];
    readonly claims: FlowCheckInput['claims'];
    readonly slotFactors: readonly number[];
    /** Views a day by cluster and row. */
    readonly densities: ReadonlyMap<string, Float64Array>;
  };
}

export function refusalsOf(given: PlanCheckInput): readonly string[] {
  const { planSet } = given;
  const refusals: string[] = [];
  const refuse = (refusal: string): void => {
    if (refusals.length < REFUSALS_MAX) refusals.push(refusal);
  };
  const orders = new Map(planSet.orders.map((order) => [order.orderVersion, order]));
  for (const order of planSet.orders) checkOrder(order, planSet.epoch, refuse);
  const byAppliance = new Map(given.input.appliances.map((box) => [box.applianceId, box]));
  const planned = new Set<string>();
  const clusters = new Map<string, ClusterHoldings>();
  for (const plan of planSet.plans) {
    const box = byAppliance.get(plan.applianceId);
    const order = orders.get(plan.orderVersion);
    const name = `plan of ${plan.applianceId}`;
    if (planned.has(plan.applianceId)) refuse(`${name}: given twice`);
    planned.add(plan.applianceId);
    if (box === undefined) refuse(`${name}: no such appliance in the input`);
    if (order === undefined) refuse(`${name}: its order ${plan.orderVersion} is not in the set`);
    checkNumbers(plan, name, refuse);
    if (box === undefined || order === undefined) continue;
    const held = expandedRows(plan, order, given.catalogue);
    checkBox(plan, box, held, given, refuse);
    const country = countryOf(given, box.siteId);
    const cluster = clusters.get(plan.clusterId) ?? { order, country, rows: new Set(), boxes: [] };
    for (const row of held) cluster.rows.add(row);
    const freeBytes = box.storageBytes - bytesOf(held, given.catalogue);
    cluster.boxes.push({ held: new Set(held), freeBytes, servingBps: box.servingBps });
    clusters.set(plan.clusterId, cluster);
  }
  for (const box of given.input.appliances) {
    if (!planned.has(box.applianceId)) refuse(`appliance ${box.applianceId} has no plan`);
  }
  for (const [clusterId, cluster] of clusters) {
    checkDemanded(clusterId, cluster, given.catalogue, refuse);
    for (const pin of given.pinsOf.get(clusterId) ?? []) {
      checkPin(clusterId, cluster, pin, given.catalogue, refuse);
    }
  }
  for (const refusal of flowRefusalsOf(given, clusters)) refuse(refusal);
  return refusals;
}

interface ClusterHoldings {
  readonly order: Order;
  readonly country: string;
  readonly rows: Set<number>;
  readonly boxes: {
    readonly held: ReadonlySet<number>;
    readonly freeBytes: number;
    readonly servingBps: number;
  }[];
}

function flowRefusalsOf(
  given: PlanCheckInput,
  clusters: ReadonlyMap<string, ClusterHoldings>,
): readonly string[] {
  const { flow, catalogue } = given;
  if (flow === undefined) return [];
  return flowRefusals({
    ...flow,
    boxesOf: (clusterId) =>
      (clusters.get(clusterId)?.boxes ?? []).map(({ held, servingBps }) => ({
        rows: [...held],
        servingBps,
      })),
    viewBytesOf: (clusterId) => {
      const placeable = placeableOf(given, clusters.get(clusterId)?.country ?? '');
      const densities = flow.densities.get(clusterId);
      return catalogue.sizes.map((size, row) =>
        placeable[row] === 1 ? size * (densities?.[row] ?? 0) : 0,
      );
    },
  });
}

function countryOf({ input }: PlanCheckInput, siteId: string): string {
  return input.sites.find((site) => site.siteId === siteId)?.country ?? '';
}

function checkOrder(order: Order, epoch: number, refuse: (refusal: string) => void): void {
  const name = `order ${order.orderId}`;
  if (order.epoch !== epoch) refuse(`${name}: epoch ${order.epoch}, the plan is of ${epoch}`);
  if (order.ordinals.length !== order.densities.length) {
    refuse(`${name}: ${order.ordinals.length} ordinals and ${order.densities.length} densities`);
  }
  for (let at = 0; at < order.densities.length; at++) {
    const density = order.densities[at];
    if (!Number.isFinite(density) || density < 0) {
      refuse(`${name}: ordinal ${order.ordinals[at]} has the density ${density}`);
    } else if (at > 0 && !(density < order.densities[at - 1])) {
      refuse(`${name}: the density of ordinal ${order.ordinals[at]} does not fall`);
    }
  }
}

function checkNumbers(plan: Plan, name: string, refuse: (refusal: string) => void): void {
  for (const field of ['everywhereDensity', 'shareDensity', 'fillDensity'] as const) {
    if (!Number.isFinite(plan[field])) refuse(`${name}: ${field} is ${plan[field]}`);
  }
  for (const member of plan.members) {
    if (!Number.isFinite(member.weight)) {
      refuse(`${name}: the weight of ${member.applianceId} is ${member.weight}`);
    }
  }
}

function checkBox(
  plan: Plan,
  box: PlannerInput['appliances'][number],
  held: readonly number[],
  given: PlanCheckInput,
  refuse: (refusal: string) => void,
): void {
  const { catalogue } = given;
  const name = `plan of ${plan.applianceId}`;
  const bytes = bytesOf(held, catalogue);
  if (!(bytes <= box.storageBytes)) {
    refuse(`${name}: ${formatBytes(bytes)} planned on ${formatBytes(box.storageBytes)} of disk`);
  }
  const holdings = given.input.holdings.find((entry) => entry.applianceId === plan.applianceId);
  const present = new Set(holdings?.ordinals);
  const fresh = held.filter((row) => !present.has(catalogue.ordinals[row]));
  const fillBytes = bytesOf(fresh, catalogue);
  const allowed = given.fillBytesOf.get(plan.applianceId) ?? Infinity;
  if (!(fillBytes <= allowed)) {
    refuse(
      `${name}: ${formatBytes(fillBytes)} to fill, ${formatBytes(allowed)} fit in tonight's window`,
    );
  }
  const country = countryOf(given, box.siteId);
  const placeable = placeableOf(given, country);
  for (const row of held) {
    if (placeable[row] === 0) {
      refuse(
        `${name}: file ${catalogue.fileIds[row]} (ordinal ${catalogue.ordinals[row]}) may not be shown in ${country}`,
      );
    }
  }
  const placed = given.placed?.get(plan.applianceId);
  if (placed === undefined) return;
  const expanded = new Set(held.map((row) => catalogue.ordinals[row]));
  const missing = [...placed].filter((ordinal) => !expanded.has(ordinal));
  const extra = [...expanded].filter((ordinal) => !placed.has(ordinal));
  if (missing.length > 0 || extra.length > 0) {
    refuse(
      `${name} does not expand to its placement: ordinals ${missing.slice(0, 5).join(', ') || 'none'} missing, ` +
        `${extra.slice(0, 5).join(', ') || 'none'} extra (${missing.length} and ${extra.length} in all)`,
    );
  }
}

/** A title of which a cluster holds nothing, though one of its files would fit on a box there. */
function checkDemanded(
  clusterId: string,
  cluster: ClusterHoldings,
  catalogue: Catalogue,
  refuse: (refusal: string) => void,
): void {
  const room = Math.max(0, ...cluster.boxes.map((box) => box.freeBytes));
  const demanded = new Set(
    cluster.order.ordinals
      .filter((_, at) => cluster.order.densities[at] > 0)
      .map((ordinal) => catalogue.rowOfOrdinal.get(ordinal) ?? -1),
  );
  for (const { listing, rows } of catalogue.titles) {
    const wanted = rows.filter((row) => demanded.has(row));
    if (wanted.length === 0 || wanted.some((row) => cluster.rows.has(row))) continue;
    const fits = wanted.find((row) => catalogue.sizes[row] <= room);
    if (fits !== undefined) {
      refuse(
        `cluster ${clusterId}: no file of title ${listing.titleId} is placed, though file ${catalogue.fileIds[fits]} ` +
          `(${formatBytes(catalogue.sizes[fits])}) is in demand and ${formatBytes(room)} are free`,
      );
    }
  }
}

/** A release that lacks a copy although a box without it has room. */
function checkPin(
  clusterId: string,
  cluster: ClusterHoldings,
  pin: { readonly ordinal: number; readonly copies: number },
  catalogue: Catalogue,
  refuse: (refusal: string) => void,
): void {
  const row = catalogue.rowOfOrdinal.get(pin.ordinal) ?? -1;
  const copies = cluster.boxes.filter((box) => box.held.has(row)).length;
  const size = catalogue.sizes[row];
  if (copies >= pin.copies) return;
  if (cluster.boxes.some((box) => !box.held.has(row) && box.freeBytes >= size)) {
    refuse(
      `cluster ${clusterId}: file ${catalogue.fileIds[row]} of a release has ${copies} of ${pin.copies} copies, though a box has room`,
    );
  }
}

function expandedRows(plan: Plan, order: Order, catalogue: Catalogue): readonly number[] {
  return expandPlan(plan, order, (ordinal) => {
    const row = catalogue.rowOfOrdinal.get(ordinal);
    return row === undefined ? undefined : catalogue.fileIds[row];
  }).map(({ ordinal }) => catalogue.rowOfOrdinal.get(ordinal) ?? -1);
}

const placeables = new WeakMap<Catalogue, Map<string, Uint8Array>>();

function placeableOf(given: PlanCheckInput, country: string): Uint8Array {
  const byKey = placeables.get(given.catalogue) ?? new Map<string, Uint8Array>();
  placeables.set(given.catalogue, byKey);
  const key = `${country} ${given.nightMs} ${given.untilGraceMs}`;
  let placeable = byKey.get(key);
  if (placeable === undefined) {
    placeable = placeableIn(given.catalogue, country, given.nightMs, given.untilGraceMs);
    byKey.set(key, placeable);
  }
  return placeable;
}

function bytesOf(rows: readonly number[], catalogue: Catalogue): number {
  let bytes = 0;
  for (const row of rows) bytes += catalogue.sizes[row];
  return bytes;
}
