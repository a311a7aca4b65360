/**
 * Prometheus metrics: figures are read when somebody scrapes. No label per box: each box has its own /metrics.
 */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ApplianceStanding } from '../contract.ts';
import type { Plane } from './plane.ts';

const STANDINGS: readonly ApplianceStanding[] = [
  'serving',
  'draining',
  'down',
  'gone-hard',
  'gone-silent',
];
const BITS = 8;

/** `connections`: boxes with a heartbeat connection. */
export function createMetrics(plane: Plane, connections: () => number): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const { catalogue, clock, fleet, plans, publisher, traffic } = plane;
  const gauge = (name: string, help: string, read: () => number | null): void => {
    const metric = new Gauge({
      name: `nightfill_control_plane_${name}`,
      help,
      registers: [registry],
      collect() {
        metric.set(read() ?? Number.NaN); // unknown is not zero
      },
    });
  };
  const appliances = new Gauge({
    name: 'nightfill_control_plane_appliances',
    help: 'enrolled appliances by standing',
    labelNames: ['standing'],
    registers: [registry],
    collect() {
      const boxes = fleet.boxes();
      for (const standing of STANDINGS) {
        const count = boxes.filter(({ health }) => health.standing === standing).length;
        appliances.set({ standing }, count);
      }
    },
  });
  gauge('heartbeat_connections', 'appliances with a heartbeat connection', connections);
  gauge('steering_connections', 'steering processes that follow', () => publisher.connections);
  gauge('steering_nodes', 'steering nodes that count; NaN: not known yet', () => {
    return plane.steeringNodes.entries?.length ?? null;
  });
  gauge('catalogue_titles', 'titles in the catalogue', () => catalogue.counts.titles);
  gauge('catalogue_files', 'files in the catalogue', () => catalogue.counts.files);
  gauge('catalogue_bytes', 'bytes in the catalogue', () => catalogue.counts.bytes);
  gauge('plan_taken_in_timestamp_seconds', 'Unix time of the last plan set; NaN: none yet', () => {
    const latest = plans.latest();
    return latest === null ? null : latest.takenInAtMs / 1000;
  });
  const figures = () => traffic.figures(clock.wallMs());
  gauge('viewer_bytes_per_second', 'to viewers', () => figures().viewerBps / BITS);
  gauge('fill_bytes_per_second', 'fetched by manifest', () => figures().fillBps / BITS);
  gauge('offload_ratio', 'NaN while nobody watches', () => figures().offloadShare);
  gauge('net_offload_ratio', 'below 0 while filling', () => figures().netOffloadShare);
  return registry;
}
