/**
 * Clusters that are planned together: a tree of tiers, each below the one that takes what it cannot serve.
 *
 * Invariants: (1) every cluster is in exactly one family, children before their parents
 */

/** Families by their first member's id; within one, children before parents, then by id. */
export function familiesOf(
  clusterIds: readonly string[],
  parents: ReadonlyMap<string, string>,
): readonly (readonly string[])[] {
  const families = new Map<string, string[]>();
  const depthOf = (clusterId: string): number => {
    const parent = parents.get(clusterId);
    return parent === undefined ? 0 : 1 + depthOf(parent);
  };
  const topOf = (clusterId: string): string => {
    const parent = parents.get(clusterId);
    return parent === undefined ? clusterId : topOf(parent);
  };
  for (const clusterId of [...clusterIds].sort()) {
    const top = topOf(clusterId);
    const family = families.get(top);
    if (family === undefined) families.set(top, [clusterId]);
    else family.push(clusterId);
  }
  return [...families.values()]
    .map((family) => family.sort((a, b) => depthOf(b) - depthOf(a) || (a < b ? -1 : 1)))
    .sort((a, b) => (a[0] < b[0] ? -1 : 1));
}
