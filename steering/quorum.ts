/**
 * What all steering nodes together make of a box that one of them suspects: a soft verdict is worth something only where most agree.
 *
 * Each node's own probes are one vote a box and family (evidence.ts); the control plane hands every node's votes to all of them. A
 * box that somebody suspects is looked at by everybody, so that there are votes to count.
 *
 *   own verdict   the others                                         what holds here
 *   unreachable   whatever they say                                  unreachable: somebody answered, and it was no
 *   any           quorate, and most of the votes are against it      suspect: may be taken out
 *   suspect       most of the votes are for it                       reachable: the broken path is ours
 *   suspect       otherwise: no quorum, a tie, nobody to ask         doubted: behind its peers, never out
 *   otherwise                                                        as our own probes say
 *
 * With the control plane gone nobody's votes come in, while the number of nodes stays the last one known: a node among several
 * then doubts what it would suspect. It cannot tell a dead box from its own broken path, and a box that stands last costs a viewer
 * nothing while another serves, whereas a box taken out by mistake costs everybody. A node that is alone judges alone.
 *
 * Invariants: (1) one node alone: exactly what its own probes say
 *             (2) `suspect` only where more than half of the votes are against a box, and more than half of the live nodes voted
 *             (3) fewer than half of the nodes, whatever they say, take no box out anywhere
 *             (4) one more vote against a box never makes it better
 *             (5) another node's word alone never makes a box unreachable
 */
import type { AddressFamily } from '#base/address.ts';
import type { ApplianceId, SteeringNode } from '#control-plane/contract.ts';
import type { EvidenceName } from './evidence.ts';
import type { FamilyEvidence } from './load.ts';

export interface Votes {
  readonly applianceId: ApplianceId;
  readonly family: AddressFamily;
  readonly against: number;
  readonly well: number;
}

/** Everybody else, as one node sees them. */
export interface Panel {
  readonly liveNodes: number; // this one counted
  readonly votes: ReadonlyMap<string, Votes>; // by voteKey, of boxes that somebody else suspects
  readonly suspected: ReadonlySet<ApplianceId>; // by somebody else: to be looked at here, too
}

export function voteKey(applianceId: ApplianceId, family: AddressFamily): string {
  return `${applianceId} ${family}`;
}

/** `nodes`: as the control plane told them, null where nobody can be asked now. `lastKnown`: nodes, when it was last told. */
export function panelOf(
  nodes: readonly SteeringNode[] | null,
  selfId: string,
  lastKnown: number,
): Panel {
  if (nodes === null) return { liveNodes: lastKnown, votes: new Map(), suspected: new Set() };
  const others = nodes.filter(({ nodeId }) => nodeId !== selfId);
  const votes = new Map<string, Votes>();
  const suspected = new Set<ApplianceId>();
  for (const { verdicts } of others) {
    for (const { applianceId, family, name } of verdicts) {
      const key = voteKey(applianceId, family);
      const { against, well } = votes.get(key) ?? { against: 0, well: 0 };
      const isAgainst = name !== 'reachable';
      if (isAgainst) suspected.add(applianceId);
      votes.set(key, {
        applianceId,
        family,
        against: against + (isAgainst ? 1 : 0),
        well: well + (isAgainst ? 0 : 1),
      });
    }
  }
  return { liveNodes: others.length + 1, votes, suspected };
}

export function verdictOf(
  own: EvidenceName,
  others: Pick<Votes, 'against' | 'well'>,
  liveNodes: number,
): EvidenceName {
  if (own === 'unreachable') return own;
  const against = others.against + (own === 'suspect' ? 1 : 0);
  const well = others.well + (own === 'reachable' ? 1 : 0);
  const isQuorate = 2 * (against + well) > liveNodes;
  if (isQuorate && against > well) return 'suspect';
  if (own !== 'suspect') return own;
  return well > against ? 'reachable' : 'doubted';
}

const NO_VOTES = { against: 0, well: 0 };

/** For load frames: what this node found out, as far as it holds. */
export function* judgeTogether(
  own: Iterable<FamilyEvidence>,
  { liveNodes, votes }: Panel,
): Iterable<FamilyEvidence> {
  const left = new Map(votes);
  for (const evidence of own) {
    const { applianceId, family, name } = evidence;
    const key = voteKey(applianceId, family);
    const verdict = verdictOf(name, votes.get(key) ?? NO_VOTES, liveNodes);
    left.delete(key);
    yield verdict === name ? evidence : { applianceId, family, name: verdict };
  }
  for (const { applianceId, family, against, well } of left.values()) {
    const verdict = verdictOf('unknown', { against, well }, liveNodes);
    if (verdict !== 'unknown') yield { applianceId, family, name: verdict };
  }
}
