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

const READ_BYTES_MAX = 256 * 1024 * 1024; // per call: one read of 2 GiB is refused

export function readFleet(directory: string): FleetDescription {
  return JSON.parse(readFileSync(path.join(directory, 'fleet.json'), 'utf8')) as FleetDescription;
}

export function readCatalogue(directory: string, fleet: FleetDescription): FleetCatalogue {
  const rows = fleet.titles * fleet.variants;
  return {
    titles: fleet.titles,
    variants: fleet.variants,
    blocks: new Uint32Array(readShared(path.join(directory, 'blocks.u32'), rows * 4)),
    buckets: new Uint16Array(readShared(path.join(directory, 'buckets.u16'), rows * 2)),
  };
}

export function readWorld(directory: string, fleet: FleetDescription): WorldRollup {
  return {
    views: floats(directory, 'world.views.f32', fleet.titles * fleet.days),
    variants: floats(directory, 'world.variants.f32', fleet.variants),
    priors: floats(directory, 'world.priors.f32', fleet.titles),
  };
}

export function readRegion(
  directory: string,
  fleet: FleetDescription,
  regionId: string,
): RegionRollup {
  const placeable = path.join(directory, `${regionId}.placeable.u8`);
  const hasPrevious = existsSync(path.join(directory, `${regionId}.previous.f32`));
  return {
    views: floats(directory, `${regionId}.views.f32`, fleet.titles * fleet.days),
    variants: floats(directory, `${regionId}.variants.f32`, fleet.variants),
    placeable: new Uint8Array(readShared(placeable, fleet.titles)),
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

/** Throws with the file's name where its length is not what the fleet's description says. */
function readShared(file: string, bytes: number): SharedArrayBuffer {
  const found = statSync(file).size;
  if (found !== bytes) {
    throw new Error(
      `${file} has ${found} bytes, fleet.json says ${bytes}: write the rollups again`,
    );
  }
  const shared = new SharedArrayBuffer(bytes);
  const target = new Uint8Array(shared);
  const descriptor = openSync(file, 'r');
  try {
    for (let at = 0; at < bytes;) {
      const read = readSync(descriptor, target, at, Math.min(READ_BYTES_MAX, bytes - at), at);
      if (read === 0) throw new Error(`${file} ended after ${at} bytes`);
      at += read;
    }
  } finally {
    closeSync(descriptor);
  }
  return shared;
}
