/**
 * What an operator may ask for on the admin listener, by name.
 *
 * Shape: (box, name, query) -> what is answered as JSON | null: there is no such action
 */
import type { Logger } from '#base/log.ts';
import type { Integrity } from '../store/integrity.ts';
import type { Store } from '../store/store.ts';
import type { BoxFill } from './box-fill.ts';
import type { ManifestIntake } from './manifest-intake.ts';
import { adoptDirectory, explainFile } from './operations.ts';
import type { RouteMonitor } from './route-monitor.ts';
import type { Serving } from './serving.ts';
import type { VolumeRegister } from './volume-register.ts';

/** The parts of a box that actions reach. */
export interface OperatedBox {
  readonly serving: Serving;
  readonly store: Store;
  readonly register: VolumeRegister;
  readonly manifests: ManifestIntake;
  readonly integrity: Integrity;
  readonly fill: BoxFill;
  readonly routes: RouteMonitor | null; // null: not configured
  readonly log: Logger;
  readonly nowMs: () => number; // trusted
}

export function actOn(box: OperatedBox, name: string, query: URLSearchParams): unknown {
  const { serving, store, manifests, routes, nowMs, log } = box;
  switch (name) {
    case 'drain':
      serving.drain(query.has('ms') ? Math.max(0, Number(query.get('ms'))) : undefined);
      return serving.drainProgress();
    case 'drain/progress':
      return serving.drainProgress();
    case 'undrain':
      serving.undrain();
      return serving.drainProgress();
    case 'routes':
      return routes === null
        ? { monitored: false, peers: [] }
        : { monitored: routes.isMonitored, peers: routes.table.peers() };
    case 'manifest':
      return query.has('confirm') ? manifests.confirm() : manifests.status;
    case 'volumes':
      return volumesOf(box);
    case 'volumes/readmit':
      return { readmitted: box.register.readmit(query.get('path') ?? ''), from: 'the next start' };
    case 'fill':
    case 'fill/plan':
      return box.fill.act(name, query);
    case 'scrub':
      return box.integrity.scrubAll();
    case 'explain':
      return explainFile(store, manifests.current, query.get('file') ?? '', nowMs());
    case 'adopt':
      return adoptDirectory(store, manifests.current, query.get('path') ?? '', log);
    default:
      return null;
  }
}

function volumesOf({ store, register }: OperatedBox): unknown {
  const open = store.volumes().map((state) => ({
    path: state.volume.name,
    state: state.outReason ?? 'up',
    speed: state.volume.speed,
    capacityBytes: state.volume.capacityBytes,
    usedBytes: state.usedBytes,
    files: state.files,
    readErrors: state.readErrors,
    probeP90Ms: state.speed.lastP90Ms,
  }));
  return { open, out: register.list() };
}
