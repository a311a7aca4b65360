/**
 * A fleet's files on disk: read whole, straight into typed arrays; the catalogue into memory that threads share.
 */
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type {
  FleetCatalogue,
  FleetDescription,
  RegionRollup,
  WorldRollup,
} from '../fleet-files.ts';

const SLICE_BYTES = 32 * 1024 * 1024; // what one thread reads at a time
const READ_BYTES_MAX = 256 * 1024 * 1024; // per call: one read of 2 GiB is refused

export function readFleet(directory: string): FleetDescription {
  return JSON.parse(readFileSync(path.join(directory, 'fleet.json'), 'utf8')) as FleetDescription;
}

export function readCatalogue(directory: string, fleet: FleetDescription): FleetCatalogue {
  const { catalogue, slices } = catalogueSlices(directory, fleet);
  slices.forEach(readSlice);
  return catalogue;
}

export function readWorld(directory: string, fleet: FleetDescription): WorldRollup {
  return {
    views: floats(directory, 'world.views.f32', fleet.titles * fleet.days),
    variants: floats(directory, 'world.variants.f32', fleet.variants),
    released: new Int32Array(readShared(path.join(directory, 'released.i32'), fleet.titles * 4)),
    classes: new Uint8Array(readShared(path.join(directory, 'classes.u8'), fleet.titles)),
  };
}

export function readRegion(
  directory: string,
  fleet: FleetDescription,
  regionId: string,
): RegionRollup {
  const placeable = path.join(directory, `${regionId}.placeable.u8`);
  const pins = path.join(directory, `${regionId}.pins.u8`);
  const hasPrevious = existsSync(path.join(directory, `${regionId}.previous.f32`));
  return {
    views: floats(directory, `${regionId}.views.f32`, fleet.titles * fleet.days),
    variants: floats(directory, `${regionId}.variants.f32`, fleet.variants),
    placeable: new Uint8Array(readShared(placeable, fleet.titles)),
    pins: existsSync(pins) ? new Uint8Array(readShared(pins, fleet.titles)) : null,
    previous: hasPrevious
      ? floats(directory, `${regionId}.previous.f32`, fleet.titles + fleet.variants)
      : null,
  };
}

export function writeArray(directory: string, name: string, values: ArrayBufferView): void {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  writeFileSync(path.join(directory, name), bytes);
}

function floats(directory: string, name: string, count: number): Float32Array {
  return new Float32Array(readShared(path.join(directory, name), count * 4));
}

/** A part of a file that one thread reads into memory which all share. */
export interface ReadSlice {
  readonly file: string;
  readonly shared: SharedArrayBuffer;
  readonly from: number;
  readonly until: number;
}

/** The catalogue as memory that is still empty, and the slices that fill it. */
export function catalogueSlices(
  directory: string,
  fleet: FleetDescription,
): { readonly catalogue: FleetCatalogue; readonly slices: readonly ReadSlice[] } {
  const rows = fleet.titles * fleet.variants;
  const blocks = sharedOf(path.join(directory, 'blocks.u32'), rows * 4);
  const buckets = sharedOf(path.join(directory, 'buckets.u16'), rows * 2);
  return {
    catalogue: {
      titles: fleet.titles,
      variants: fleet.variants,
      blocks: new Uint32Array(blocks.shared),
      buckets: new Uint16Array(buckets.shared),
    },
    slices: [blocks, buckets].flatMap(({ file, shared }) => {
      const count = Math.ceil(shared.byteLength / SLICE_BYTES);
      return Array.from({ length: count }, (_, at) => ({
        file,
        shared,
        from: at * SLICE_BYTES,
        until: Math.min(shared.byteLength, (at + 1) * SLICE_BYTES),
      }));
    }),
  };
}

/** Throws with the file's name where its length is not what the fleet's description says. */
function sharedOf(
  file: string,
  bytes: number,
): { readonly file: string; readonly shared: SharedArrayBuffer } {
  const found = statSync(file).size;
  if (found !== bytes) {
    throw new Error(
      `${file} has ${found} bytes, fleet.json says ${bytes}: write the rollups again`,
    );
  }
  return { file, shared: new SharedArrayBuffer(bytes) };
}

function readShared(file: string, bytes: number): SharedArrayBuffer {
  const { shared } = sharedOf(file, bytes);
  readSlice({ file, shared, from: 0, until: bytes });
  return shared;
}

export function readSlice({ file, shared, from, until }: ReadSlice): void {
  const target = new Uint8Array(shared);
  const descriptor = openSync(file, 'r');
  try {
    for (let at = from; at < until;) {
      const read = readSync(descriptor, target, at, Math.min(READ_BYTES_MAX, until - at), at);
      if (read === 0) throw new Error(`${file} ended after ${at} bytes`);
      at += read;
    }
  } finally {
    closeSync(descriptor);
  }
}
