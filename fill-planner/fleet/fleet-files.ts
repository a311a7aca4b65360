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
 *   world.priors.f32           per title: expected views a day of a title too new to have any
 *   <region>.views.f32         as world.views
 *   <region>.variants.f32      per variant: views
 *   <region>.placeable.u8      per title: 1 where it may be shown
 *   <region>.previous.f32      last night's order: title densities, then variant shares; absent on the first night
 */
export const BLOCK_BYTES = 4096;

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

/** A cluster of equal boxes. */
export interface FleetCluster {
  readonly clusterId: string;
  readonly siteId: string;
  readonly boxes: readonly string[]; // applianceIds, sorted
  readonly storageBytes: number; // per box
  readonly servingBps: number; // per box
  readonly fillBytes: number; // per box and night
  readonly viewsPerDay: number; // forecast level
  /** Last night's thresholds on last night's order; null before the first night. */
  readonly previous: PreviousCuts | null;
}

export interface PreviousCuts {
  readonly everywhereDensity: number;
  readonly shareDensities: readonly number[]; // per box
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
  readonly priors: Float32Array;
}

export interface RegionRollup {
  readonly views: Float32Array;
  readonly variants: Float32Array;
  readonly placeable: Uint8Array;
  readonly previous: Float32Array | null;
}
