/**
 * Turns steering's ranked URLs per file into pathways: one per box, each able to give every file of the title.
 *
 * Invariants: (1) at most PATHWAYS_MAX; the best first; the origin last where it is one of them
 *             (2) every pathway has a URL for every file: the box's own, or, where the box is not ranked for a file, the best
 *                 one of that file (a player on that pathway still plays, and the box is not made to fetch what it lacks)
 */
import { ORIGIN_PATHWAY_ID } from '#control-plane/contract.ts';
import { PATHWAYS_MAX, type PlayAnswer } from '#steering/contract.ts';
import type { FileId } from '../contract.ts';

export interface Pathway {
  readonly pathwayId: string;
  /** Everything before the fileId of this pathway's own URLs, for manifests that name the place once. */
  readonly baseUrl: string;
  readonly urls: ReadonlyMap<FileId, string>;
}

export function pathwaysOf(answer: PlayAnswer): readonly Pathway[] {
  const firsts = new Map<string, number>();
  for (const { urls } of answer.files) {
    for (const [at, { pathwayId }] of urls.entries()) {
      firsts.set(pathwayId, (firsts.get(pathwayId) ?? 0) + (at === 0 ? 1 : 0));
    }
  }
  const boxes = [...firsts.keys()]
    .filter((pathwayId) => pathwayId !== ORIGIN_PATHWAY_ID)
    // A stable sort: equals stay in order of appearance, which is steering's.
    .toSorted((a, b) => (firsts.get(b) ?? 0) - (firsts.get(a) ?? 0));
  const origin = firsts.has(ORIGIN_PATHWAY_ID) ? [ORIGIN_PATHWAY_ID] : [];
  const ids = [...boxes.slice(0, PATHWAYS_MAX - origin.length), ...origin];
  return ids.map((pathwayId) => pathwayOf(answer, pathwayId));
}

function pathwayOf(answer: PlayAnswer, pathwayId: string): Pathway {
  const urls = new Map<FileId, string>();
  let baseUrl = '';
  for (const file of answer.files) {
    const own = file.urls.find((url) => url.pathwayId === pathwayId);
    urls.set(file.fileId, (own ?? file.urls[0]).url);
    if (own !== undefined && baseUrl === '') {
      baseUrl = own.url.slice(0, own.url.length - file.fileId.length);
    }
  }
  return { pathwayId, baseUrl, urls };
}
