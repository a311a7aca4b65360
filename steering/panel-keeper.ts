/**
 * The other steering nodes as this one knows them: from each snapshot that names them, and how many they were once nobody tells any more.
 *
 * Invariants: (1) votes count only while the control plane is there; the number of nodes outlives it
 *             (2) this node counts itself, named or not
 */
import type { SteeringNode } from '#control-plane/contract.ts';
import { panelOf, type Panel } from './quorum.ts';

export class PanelKeeper {
  readonly #selfId: string;
  readonly #assumed: number; // nodes, until somebody has said
  #current: Panel;
  #madeOf: readonly SteeringNode[] | null = null;
  #seen: readonly SteeringNode[] | null = null;
  #known: readonly string[] | null = null;

  constructor(selfId: string, assumed: number) {
    this.#selfId = selfId;
    this.#assumed = assumed;
    this.#current = panelOf(null, selfId, assumed);
  }

  get current(): Panel {
    return this.#current;
  }

  /** Nodes that lived when the control plane last said so; null: it never has. */
  get known(): readonly string[] | null {
    return this.#known;
  }

  /** `nodes`: of the snapshot that is held, undefined where it names none. */
  look(nodes: readonly SteeringNode[] | undefined, isControlPlaneGone: boolean): Panel {
    if (nodes !== undefined && nodes !== this.#seen) {
      this.#seen = nodes;
      this.#known = nodes.map(({ nodeId }) => nodeId);
      this.#current = panelOf(null, this.#selfId, this.#lastKnown);
      this.#madeOf = null;
    }
    const told = isControlPlaneGone ? null : (nodes ?? null);
    if (told !== this.#madeOf) {
      this.#madeOf = told;
      this.#current = panelOf(told, this.#selfId, this.#lastKnown);
    }
    return this.#current;
  }

  get #lastKnown(): number {
    if (this.#known === null) return this.#assumed;
    return this.#known.length + (this.#known.includes(this.#selfId) ? 0 : 1);
  }
}
