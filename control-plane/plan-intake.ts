/**
 * Whether a plan set may replace the plans in use: whole or not at all.
 *
 * Shape:      (set, what is known here) -> take | same run again | refused with everything that is wrong
 * Invariants: (1) every plan is for an enrolled appliance, in its own cluster, of the set's date and epoch
 *             (2) every order is what its version says, sorted by falling density, over ordinals that exist
 *             (3) an older plan date never replaces a newer one
 */
import { createHash } from 'node:crypto';
import { orderVersionOf, type Order, type Plan, type PlanSet } from '#fill-planner/contract.ts';
import type { ApplianceId, ClusterId } from './contract.ts';

const PROBLEMS_TOLD_MAX = 20;

export interface PlanIntakeContext {
  readonly epoch: number;
  clusterOf(applianceId: ApplianceId): ClusterId | undefined;
  hasOrdinal(ordinal: number): boolean;
  /** Content key of a run that was taken in before. */
  contentKeyOfRun(run: string): string | null;
  readonly latestPlanDate: string | null;
}

export type PlanIntake =
  | { readonly verdict: 'take'; readonly contentKey: string }
  | { readonly verdict: 'same' }
  | {
      readonly verdict: 'refuse';
      readonly why: 'plan-epoch' | 'plan-run-reused' | 'plan-older' | 'plan-not-consistent';
      readonly problems: readonly string[];
    };

export function decidePlanSet(set: PlanSet, context: PlanIntakeContext): PlanIntake {
  const contentKey = createHash('sha256').update(JSON.stringify(set)).digest('base64url');
  const known = context.contentKeyOfRun(set.run);
  if (known !== null) {
    return known === contentKey
      ? { verdict: 'same' }
      : refuse('plan-run-reused', [`run ${set.run} was taken in before with other content`]);
  }
  if (set.epoch !== context.epoch) {
    return refuse('plan-epoch', [
      `the plan is of catalogue epoch ${set.epoch}, this catalogue is ${context.epoch}: fetch the input again`,
    ]);
  }
  if (context.latestPlanDate !== null && set.planDate < context.latestPlanDate) {
    return refuse('plan-older', [
      `plan date ${set.planDate} is before ${context.latestPlanDate}, which is in use`,
    ]);
  }
  const problems = problemsOf(set, context);
  return problems.length > 0
    ? refuse('plan-not-consistent', problems)
    : { verdict: 'take', contentKey };
}

function problemsOf(set: PlanSet, context: PlanIntakeContext): readonly string[] {
  const problems: string[] = [];
  const orders = new Map<string, Order>();
  for (const order of set.orders) {
    orders.set(order.orderVersion, order);
    problems.push(...orderProblems(order, set, context));
  }
  const seen = new Set<ApplianceId>();
  for (const plan of set.plans) {
    if (seen.has(plan.applianceId)) problems.push(`${plan.applianceId}: planned twice`);
    seen.add(plan.applianceId);
    problems.push(...planProblems(plan, set, orders, context));
  }
  return problems;
}

function orderProblems(order: Order, set: PlanSet, context: PlanIntakeContext): string[] {
  const problem = (text: string): string => `order ${order.orderId}: ${text}`;
  if (order.epoch !== set.epoch)
    return [problem(`epoch ${order.epoch}, the set's is ${set.epoch}`)];
  if (order.ordinals.length !== order.densities.length) {
    return [problem(`${order.ordinals.length} ordinals but ${order.densities.length} densities`)];
  }
  if (orderVersionOf(order) !== order.orderVersion)
    return [problem('its version is not its content')];
  if (new Set(order.ordinals).size !== order.ordinals.length) return [problem('an ordinal twice')];
  if (order.densities.some((density, at) => at > 0 && density > order.densities[at - 1])) {
    return [problem('densities rise')];
  }
  const unknown = order.ordinals.find((ordinal) => !context.hasOrdinal(ordinal));
  return unknown === undefined ? [] : [problem(`ordinal ${unknown} was never given`)];
}

function planProblems(
  plan: Plan,
  set: PlanSet,
  orders: ReadonlyMap<string, Order>,
  context: PlanIntakeContext,
): string[] {
  const problem = (text: string): string => `${plan.applianceId}: ${text}`;
  const clusterId = context.clusterOf(plan.applianceId);
  if (clusterId === undefined) return [problem('no such appliance is enrolled')];
  const problems: string[] = [];
  if (clusterId !== plan.clusterId) {
    problems.push(problem(`planned in cluster ${plan.clusterId}, it is in ${clusterId}`));
  }
  if (plan.planDate !== set.planDate || plan.epoch !== set.epoch) {
    problems.push(problem('its date or epoch is not that of the set'));
  }
  if (!orders.has(plan.orderVersion)) problems.push(problem('its order is not in the set'));
  if (!plan.members.some((member) => member.applianceId === plan.applianceId)) {
    problems.push(problem('it is not among the members of its own share'));
  }
  const bands = plan.bands ?? [];
  if (bands.some(({ weights }) => weights.length !== plan.members.length)) {
    problems.push(problem('a band has not one weight per member'));
  }
  if (bands.some(({ fromDensity }, at) => at > 0 && fromDensity >= bands[at - 1].fromDensity)) {
    problems.push(problem('its bands do not fall in density'));
  }
  const unknown = [...plan.pins, ...plan.drops].find((ordinal) => !context.hasOrdinal(ordinal));
  if (unknown !== undefined) problems.push(problem(`ordinal ${unknown} was never given`));
  return problems;
}

function refuse(
  why: Extract<PlanIntake, { verdict: 'refuse' }>['why'],
  problems: readonly string[],
): PlanIntake {
  const rest = problems.length - PROBLEMS_TOLD_MAX;
  const told = problems.slice(0, PROBLEMS_TOLD_MAX);
  return { verdict: 'refuse', why, problems: rest > 0 ? [...told, `and ${rest} more`] : told };
}
