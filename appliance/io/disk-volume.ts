/**
 * Opens a volume: a directory with content files and their catalogue.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { codeOf, failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import type { Volume } from '../store/volume.ts';
import { CatalogueDb } from './catalogue-db.ts';
import { DiskFiles } from './disk-files.ts';

export interface VolumeSpec {
  readonly path: string;
  readonly capacityBytes: number;
  readonly speed?: 'fast' | 'slow';
}

export function openVolume(spec: VolumeSpec): Outcome<Volume> {
  const name = path.resolve(spec.path);
  try {
    mkdirSync(path.join(name, 'files'), { recursive: true, mode: 0o700 });
    const catalogue = new CatalogueDb(path.join(name, 'catalogue.sqlite'), name);
    return success({
      name,
      id: catalogue.volumeId,
      speed: spec.speed ?? 'fast',
      capacityBytes: spec.capacityBytes,
      files: new DiskFiles(name),
      catalogue,
    });
  } catch (thrown) {
    const isBusy = codeOf(thrown) === 'SQLITE_BUSY';
    return failed({
      code: isBusy ? 'volume-in-use' : 'volume-unusable',
      source: 'disk',
      retry: 'never',
      detail: isBusy
        ? `volume ${name} is in use by another process: one volume belongs to one appliance`
        : `volume ${name} cannot be used: ${messageOf(thrown)}`,
      cause: thrown,
    });
  }
}
