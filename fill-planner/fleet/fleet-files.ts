/**
 * What a whole fleet's planning reads from disk: a catalogue in columns, rollups of view records per region, the fleet.
 *
 * The files of a title are its variants (codec x resolution x bitrate, audio, text), in one order for all titles: row =
 * title x variants + variant = ordinal of the epoch. All numbers little-endian, as typed arrays lie in memory.
 *
 *   fleet.json                 FleetDescription
 *   blocks.u32                 per row: 4 KiB blocks that the file takes
 *   buckets.u16                per row: shareBucketOf(fileId)
 *   world.views.f32            per title and day: views, oldest day first (all regions)
 *   world.variants.f32         per variant: share of a title's views
 *   released.i32               per title: day of its release, days since 1970 UTC
 *   classes.u8                 per title: index into TITLE_CLASSES
 *   <region>.views.f32         as world.views
 *   <region>.variants.f32      per variant: views
 *   <region>.placeable.u8      per title: 1 where it may be shown
 *   <region>.pins.u8           per title: 1 where a release is pinned in the region tonight; absent: none is
 *   <region>.previous.f32      last night's order: title densities, then variant shares; absent on the first night
 */
import type { TitleListing } from '#upstream/contract.ts';

export const BLOCK_BYTES = 4096;
export const TITLE_CLASSES: readonly TitleListing['class'][] = ['catalogue', 'release', 'children'];

export interface FleetDescription {
  readonly planDate: string;
  readonly epoch: number;
  readonly titles: number;
  readonly variants: number;
  readonly days: number;
  readonly regions: readonly FleetRegion[];
}

export interface FleetRegion {
  readonly regionId: string;
  readonly clusters: readonly FleetCluster[];
}

export interface FleetBox {
  readonly applianceId: string;
  readonly applianceClass: 'flash' | 'storage';
  readonly storageBytes: number;
  readonly servingBps: number;
  readonly fillBytes: number; // a night
}

export interface FleetCluster {
  readonly clusterId: string;
  readonly siteId: string;
  /** The cluster of the same region that takes what this one cannot serve; null: none is planned with it. */
  readonly parentId: string | null;
  readonly boxes: readonly FleetBox[]; // by applianceId
  readonly viewsPerDay: number; // forecast level of its own viewers
  /** What last night's plan gave each box on last night's order; null before the first night. */
  readonly previous: PreviousCuts | null;
}

/**
 * A box holds its own files of at least `from` and less than `below`, and everything of at least `everywhereDensity`: densities of
 * last night's order, its fill cuts.
 *
 * With the same boxes of the same storage as last night it is never more than they truly hold, so that no fill is larger than
 * planned; where boxes join, leave or change, files change owners, and the caller gives null. It may be less: what was only kept
 * depends on the order of the night before that, which nobody reads again. Such files count as absent: they are planned, and their
 * bytes taken from the window, as if they were to be filled anew; the box that has them fetches nothing. What is neither chosen again
 * nor fits the window is dropped. When pins end, their files count by the thresholds alone: too many where a pin had no room, or
 * lay in a head that all boxes hold.
 */
export interface PreviousCuts {
  readonly everywhereDensity: number;
  readonly from: readonly number[]; // per box
  readonly below: readonly number[];
}

export interface FleetCatalogue {
  readonly titles: number;
  readonly variants: number;
  readonly blocks: Uint32Array;
  readonly buckets: Uint16Array;
}

export interface WorldRollup {
  readonly views: Float32Array;
  readonly variants: Float32Array;
  readonly released: Int32Array;
  readonly classes: Uint8Array;
}

export interface RegionRollup {
  readonly views: Float32Array;
  readonly variants: Float32Array;
  readonly placeable: Uint8Array;
  readonly pins: Uint8Array | null;
  readonly previous: Float32Array | null;
}
