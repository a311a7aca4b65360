/**
 * A sample of a catalogue's files by hash, each a real key with its own size, title and bucket: with the same share of disk and viewers a
 * sample of keys behaves as the whole (SHARDS).
 *
 * Files at the thin end of the ladder, which together carry less than a thousandth of the views, are left out: `views` says how much is in.
 *
 * Units:      sizes in blocks of the fleet planner; shares of a title's views over all of its files, sampled or not
 * Invariants: (1) a row that is not sampled has no bytes: the planner gives it no room and counts no demand for it
 */
import { shareBucketOf } from '../../contract.ts';
import { BLOCK_BYTES, type FleetCatalogue } from '../../fleet/fleet-files.ts';
import { fileIdOfRow } from '../../fleet/expand-sample.ts';
import { assert } from '#base/outcome.ts';
import { hashOf } from '../workload/chance.ts';
import type { Ladder } from '../workload/ladder.ts';
import type { Cell } from '../workload/programmes.ts';

const VIEWS_KEPT = 0.9995; // of view-bytes
const PURPOSE = 61;

export interface Keys {
  readonly catalogue: FleetCatalogue;
  readonly cellOfTitle: Int32Array;
  readonly seconds: Float64Array; // per title
  readonly shares: Float32Array; // per file of the ladder, falling
  readonly rows: Uint32Array; // sampled, ascending
  readonly sizes: Float64Array; // bytes per sampled row
  /** What one view-second of a title weighs, over the files that are in. */
  readonly bytesPerViewSecond: number;
  readonly sampleShare: number;
}

export function keysOf(
  cells: readonly Cell[],
  ladder: Ladder,
  sampleShare: number,
  seed: number,
): Keys {
  const files = filesKept(ladder);
  const cellOfTitle = Int32Array.from(
    cells.flatMap((cell, at) =>
      Array.from({ length: Math.max(1, Math.round(cell.titles)) }, () => at),
    ),
  );
  const titles = cellOfTitle.length;
  const seconds = Float64Array.from(cellOfTitle, (cell) => cells[cell].seconds);
  const blocks = new Uint32Array(titles * files);
  const buckets = new Uint16Array(titles * files);
  const rows: number[] = [];
  const limit = sampleShare * 2 ** 32;
  for (let title = 0; title < titles; title++) {
    for (let file = 0; file < files; file++) {
      const row = title * files + file;
      const hash = hashOf(seed, row, PURPOSE);
      buckets[row] = hashOf(seed, row, PURPOSE, 1) & 4095;
      if (hash >= limit) continue;
      blocks[row] = Math.max(
        1,
        Math.ceil((seconds[title] * ladder.bytesPerSecond[file]) / BLOCK_BYTES),
      );
      rows.push(row);
    }
  }
  assert(rows.length > 0, 'a sample of keys holds at least one');
  const total = ladder.shares.slice(0, files).reduce((sum, share) => sum + share, 0);
  const shares = Float32Array.from(ladder.shares.subarray(0, files), (share) => share / total);
  let bytesPerViewSecond = 0;
  for (let file = 0; file < files; file++)
    bytesPerViewSecond += shares[file] * ladder.bytesPerSecond[file];
  return {
    catalogue: { titles, variants: files, blocks, buckets },
    cellOfTitle,
    seconds,
    shares,
    rows: Uint32Array.from(rows),
    sizes: Float64Array.from(rows, (row) => blocks[row] * BLOCK_BYTES),
    bytesPerViewSecond,
    sampleShare,
  };
}

/** The file id of a row, as expansion asks for it. */
export function fileIdOf({ catalogue }: Keys, row: number): string {
  const id = fileIdOfRow(row, catalogue.buckets);
  assert(shareBucketOf(id) === catalogue.buckets[row], 'a file id carries its bucket');
  return id;
}

function filesKept(ladder: Ladder): number {
  let sum = 0;
  for (let file = 0; file < ladder.files; file++) {
    sum += ladder.shares[file] * ladder.bytesPerSecond[file];
    if (sum >= VIEWS_KEPT * ladder.bytesPerViewSecond) return file + 1;
  }
  return ladder.files;
}
