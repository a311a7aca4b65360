/**
 * Which volumes this box opens: those of the configuration, less those that were taken out and not readmitted since.
 *
 * A disk that failed once and answers again after a reboot is not a sound disk: an operator says so, by its id, so
 * that a new disk at the same path needs no word.
 */
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import type { Logger } from '#base/log.ts';
import type { Volume } from '../store/volume.ts';
import { outText } from '../store/disk-watch.ts';
import { openVolume, type VolumeSpec } from './disk-volume.ts';
import type { KeptDocuments } from './kept-documents.ts';

const KEPT_NAME = 'volumes-out.json';

const OutSchema = Type.Record(
  Type.String(),
  Type.Object({ name: Type.String(), why: Type.String(), atMs: Type.Integer() }),
  { description: 'by volume id' },
);
type Outs = Static<typeof OutSchema>;
const checkOuts = checker(OutSchema);

export class VolumeRegister {
  readonly #kept: KeptDocuments;
  readonly #log: Logger;
  readonly #problems: string[] = [];
  #outs: Outs;

  constructor(kept: KeptDocuments, log: Logger) {
    this.#kept = kept;
    this.#log = log;
    const checked = checkOuts(kept.readJson(KEPT_NAME));
    this.#outs = checked.ok ? checked.value : {};
  }

  /** What health says of volumes that were not opened. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Opens what can be opened. Throws where none of the volumes ever worked here: that is a configuration to mend. */
  open(specs: readonly VolumeSpec[]): readonly Volume[] {
    const volumes: Volume[] = [];
    let isAnyRemembered = false;
    for (const spec of specs) {
      const outcome = openVolume(spec);
      if (!outcome.ok) {
        this.#note(outcome.failure.detail);
        continue;
      }
      const out = this.#outs[outcome.value.id];
      if (out === undefined) {
        volumes.push(outcome.value);
        continue;
      }
      isAnyRemembered = true;
      outcome.value.catalogue.close();
      this.#note(outText(outcome.value.name, out.why));
    }
    if (volumes.length === 0 && !isAnyRemembered) throw new Error(this.#problems.join('\n'));
    return volumes;
  }

  remember(volume: Volume, why: string): void {
    this.#outs = { ...this.#outs, [volume.id]: { name: volume.name, why, atMs: Date.now() } };
    this.#kept.write(KEPT_NAME, JSON.stringify(this.#outs, null, 2));
  }

  /** Forgets that the volume at this path was taken out; it is opened with the next start. */
  readmit(name: string): boolean {
    const entries = Object.entries(this.#outs);
    const left = entries.filter(([, out]) => out.name !== name);
    if (left.length === entries.length) return false;
    this.#outs = Object.fromEntries(left);
    this.#kept.write(KEPT_NAME, JSON.stringify(this.#outs, null, 2));
    return true;
  }

  list(): readonly { readonly name: string; readonly why: string }[] {
    return Object.values(this.#outs).map(({ name, why }) => ({ name, why }));
  }

  #note(problem: string): void {
    this.#problems.push(problem);
    this.#log.error({ event: 'volume-unusable' }, problem);
  }
}
