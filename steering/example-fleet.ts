/**
 * A small fleet, for tests and benches: two sites (two boxes and one), a far one in another country, one title.
 *
 *   lyon   FR  cluster lyon-1   lyon-a, lyon-b   10.1.0.0/16, 2001:db8:1::/48
 *   paris  FR  cluster paris-1  paris-a          10.2.0.0/16
 *   oslo   NO  cluster oslo-1   oslo-a           10.3.0.0/16
 */
import type { FleetSnapshot, SnapshotAppliance } from '#control-plane/contract.ts';
import { createWorld, type World } from './candidates.ts';
import type { EvidenceName } from './evidence.ts';
import { createFleet } from './fleet.ts';
import { LoadLedger } from './load.ts';

export const EXAMPLE_AT_MS = Date.UTC(2026, 10, 20);
export const EXAMPLE_TITLE = 'film-1';
export const EXAMPLE_FILES: readonly string[] = ['v', 'a', 't'].map((kind) => kind.padEnd(43, '0'));

export interface FleetChanges {
  readonly appliances?: Readonly<Record<string, Partial<SnapshotAppliance>>>;
  /** Ordinals by box; 0, 1, 2 are the files of the title. Absent: every box holds all of them. */
  readonly holdings?: Readonly<Record<string, readonly number[]>>;
  readonly snapshot?: Partial<FleetSnapshot>;
}

export function exampleSnapshot(changes: FleetChanges = {}): FleetSnapshot {
  const places: readonly [string, string, string][] = [
    ['lyon-a', 'lyon', '127.77.1.1'],
    ['lyon-b', 'lyon', '127.77.1.2'],
    ['paris-a', 'paris', '127.77.2.1'],
    ['oslo-a', 'oslo', '127.77.3.1'],
  ];
  const appliances = places.map(([applianceId, siteId, address]) => ({
    applianceId,
    siteId,
    clusterId: `${siteId}-1`,
    baseUrl: `http://${address}:8080`,
    standing: 'serving' as const,
    reasons: [],
    since: EXAMPLE_AT_MS - 60_000,
    weight: 1,
    servingBps: 1e9,
    egressBps: 0,
    heartbeatAtMs: EXAMPLE_AT_MS,
    ...changes.appliances?.[applianceId],
  }));
  return {
    kind: 'full',
    version: 7,
    epoch: 1,
    issuedAtMs: EXAMPLE_AT_MS,
    prefixesVersion: 3,
    clusters: [
      {
        clusterId: 'lyon-1',
        siteId: 'lyon',
        country: 'FR',
        latitude: 45.76,
        longitude: 4.84,
        prefixes: ['10.1.0.0/16', '2001:db8:1::/48'],
      },
      {
        clusterId: 'paris-1',
        siteId: 'paris',
        country: 'FR',
        latitude: 48.86,
        longitude: 2.35,
        prefixes: ['10.2.0.0/16'],
      },
      {
        clusterId: 'oslo-1',
        siteId: 'oslo',
        country: 'NO',
        latitude: 59.91,
        longitude: 10.75,
        prefixes: ['10.3.0.0/16'],
      },
    ],
    appliances,
    holdings: appliances.map(({ applianceId }) => ({
      applianceId,
      version: 4,
      ordinals: [...(changes.holdings?.[applianceId] ?? [0, 1, 2])],
    })),
    titles: [
      {
        titleId: EXAMPLE_TITLE,
        availability: [{ countries: ['*'] }],
        durationSeconds: 100,
        files: EXAMPLE_FILES.map((fileId, ordinal) => ({ fileId, ordinal, sizeBytes: 50_000_000 })),
      },
    ],
    origin: { pathwayId: 'origin', baseUrl: 'http://127.77.0.1:8000' },
    ...changes.snapshot,
  };
}

export function exampleWorld(
  changes: FleetChanges = {},
  evidence: Readonly<Record<string, EvidenceName>> = {},
  ledger = new LoadLedger(1, EXAMPLE_AT_MS),
): World {
  const fleet = createFleet(exampleSnapshot(changes));
  const known = Object.entries(evidence).flatMap(([applianceId, name]) =>
    ([4, 6] as const).map((family) => ({ applianceId, family, name })),
  );
  const frame = ledger.freeze(fleet, known, EXAMPLE_AT_MS);
  return createWorld(fleet, frame);
}
