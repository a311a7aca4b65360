/**
 * Which steering nodes are alive, and what their own probes say of the boxes that one of them suspects: told to all of them, so that
 * a box goes by the word of most nodes and not by the broken path of one.
 *
 * Shape:      take(report, now) -> true where all are to be told; tick(now) -> the same; entries -> one list, the same object until then;
 *             seen(now) -> for people: those that fell silent within NODE_REMEMBERED_MS too
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

const NODE_REMEMBERED_MS = 3_600_000;

/** A node as a person looks at it. */
export interface SeenNode {
  readonly nodeId: string;
  readonly heardAgoMs: Milliseconds;
  readonly isLive: boolean;
  readonly verdicts: SteeringNode['verdicts']; // none of a silent one: they count no more
}

interface Heard {
  readonly node: SteeringNode;
  readonly key: string; // what it says, comparable
  readonly atMs: Milliseconds;
}

export class SteeringNodes {
  readonly #heard = new Map<string, Heard>();
  readonly #silent = new Map<string, Milliseconds>(); // when they were last heard, in the order of falling silent
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
    this.#silent.delete(nodeId);
    return before?.key === key ? false : this.#renew(nowMs);
  }

  tick(nowMs: Milliseconds): boolean {
    let isNews = this.#entries === undefined;
    for (const [nodeId, { atMs }] of this.#heard) {
      if (nowMs - atMs <= STEERING_NODE_SILENT_MS) continue;
      this.#heard.delete(nodeId);
      this.#silent.set(nodeId, atMs);
      isNews = true;
    }
    this.#forget(nowMs);
    return isNews && this.#renew(nowMs);
  }

  /** Silent ones first, then by id. */
  seen(nowMs: Milliseconds): readonly SeenNode[] {
    const silent = Array.from(this.#silent, ([nodeId, atMs]): SeenNode => {
      return { nodeId, heardAgoMs: nowMs - atMs, isLive: false, verdicts: [] };
    });
    const live = Array.from(this.#heard.values(), ({ node, atMs }): SeenNode => {
      return { ...node, heardAgoMs: nowMs - atMs, isLive: true };
    });
    const byId = (a: SeenNode, b: SeenNode): number => (a.nodeId < b.nodeId ? -1 : 1);
    return [...silent.sort(byId), ...live.sort(byId)];
  }

  #forget(nowMs: Milliseconds): void {
    for (const [nodeId, atMs] of this.#silent) {
      const isOld = nowMs - atMs > NODE_REMEMBERED_MS;
      if (isOld || this.#silent.size > STEERING_NODES_MAX) this.#silent.delete(nodeId);
    }
  }

  #renew(nowMs: Milliseconds): boolean {
    if (nowMs - this.#startedAtMs < STEERING_NODE_SILENT_MS) return false;
    this.#entries = Array.from(this.#heard.values(), ({ node }) => node).sort((a, b) =>
      a.nodeId < b.nodeId ? -1 : 1,
    );
    return true;
  }
}
