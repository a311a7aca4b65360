/**
 * Which steering nodes are alive, and what their own probes say of the boxes that one of them suspects: told to all of them, so that
 * a box goes by the word of most nodes and not by the broken path of one.
 *
 * Shape:      take(report, now) -> true where all are to be told; tick(now) -> the same; entries -> one list, the same object until then
 * Units:      monotonic milliseconds
 * Invariants: (1) a node that was not heard for STEERING_NODE_SILENT_MS is not in the list, nor is what it said
 *             (2) ages alone change nothing: a list is new only where somebody came, went or judges otherwise
 *             (3) within STEERING_NODE_SILENT_MS of a start nothing is told: those that were heard yet are not all that live
 *             (4) at most STEERING_NODES_MAX nodes; further ones are refused until one is silent
 */
import type { Milliseconds } from '#base/clock.ts';
import {
  STEERING_NODE_SILENT_MS,
  STEERING_NODES_MAX,
  STEERING_VERDICT_AGE_MS_MAX,
  type SteeringNode,
  type SteeringReport,
} from './contract.ts';

interface Heard {
  readonly node: SteeringNode;
  readonly key: string; // what it says, comparable
  readonly atMs: Milliseconds;
}

export class SteeringNodes {
  readonly #heard = new Map<string, Heard>();
  readonly #startedAtMs: Milliseconds;
  #entries: readonly SteeringNode[] | undefined = undefined;

  constructor(nowMs: Milliseconds) {
    this.#startedAtMs = nowMs;
  }

  /** Undefined: too early to tell. */
  get entries(): readonly SteeringNode[] | undefined {
    return this.#entries;
  }

  take({ nodeId, verdicts }: SteeringReport, nowMs: Milliseconds): boolean | 'too-many' {
    const before = this.#heard.get(nodeId);
    if (before === undefined && this.#heard.size >= STEERING_NODES_MAX) return 'too-many';
    const fresh = verdicts
      .filter(({ ageMs }) => ageMs <= STEERING_VERDICT_AGE_MS_MAX)
      .map(({ applianceId, family, name }) => ({ applianceId, family, name }));
    const key = fresh
      .map(({ applianceId, family, name }) => `${applianceId} ${family} ${name}`)
      .sort()
      .join();
    const node = before?.key === key ? before.node : { nodeId, verdicts: fresh };
    this.#heard.set(nodeId, { node, key, atMs: nowMs });
    return before?.key === key ? false : this.#renew(nowMs);
  }

  tick(nowMs: Milliseconds): boolean {
    let isNews = this.#entries === undefined;
    for (const [nodeId, { atMs }] of this.#heard) {
      if (nowMs - atMs <= STEERING_NODE_SILENT_MS) continue;
      this.#heard.delete(nodeId);
      isNews = true;
    }
    return isNews && this.#renew(nowMs);
  }

  #renew(nowMs: Milliseconds): boolean {
    if (nowMs - this.#startedAtMs < STEERING_NODE_SILENT_MS) return false;
    this.#entries = Array.from(this.#heard.values(), ({ node }) => node).sort((a, b) =>
      a.nodeId < b.nodeId ? -1 : 1,
    );
    return true;
  }
}
