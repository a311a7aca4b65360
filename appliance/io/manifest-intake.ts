/**
 * Pulls the manifest, checks everything about it, and only then lets it act. The last good one is kept on disk.
 *
 * Invariants: (1) nothing acts on a manifest before its signature, owner, version, digest and size were checked
 *             (2) a refused one changes nothing: the one in use stays, and the problem is told in the heartbeat
 */
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import type { KeyRing } from '#control-plane/contract.ts';
import { readManifest } from '#control-plane/control-plane.ts';
import { ManifestSet, NO_MANIFEST } from '../fill/manifest-set.ts';
import type { Identity } from './identity.ts';
import type { KeptDocuments } from './kept-documents.ts';

const KEPT_NAME = 'manifest.bin';

export interface ManifestIntakeDeps {
  readonly identity: Identity;
  readonly kept: KeptDocuments;
  readonly log: Logger;
  readonly keys: () => KeyRing | null;
  readonly fetch: (version: number) => Promise<Outcome<Buffer | 'current' | 'none'>>;
  readonly roomBytes: () => number; // what a manifest may claim here
  readonly use: (manifest: ManifestSet) => Promise<void>;
}

export class ManifestIntake {
  readonly #deps: ManifestIntakeDeps;
  #current = NO_MANIFEST;
  #problem: string | null = null;
  #pulling: Promise<void> | null = null;

  constructor(deps: ManifestIntakeDeps) {
    this.#deps = deps;
  }

  get current(): ManifestSet {
    return this.#current;
  }

  get problem(): string | null {
    return this.#problem;
  }

  /** One pull at a time; whoever asks meanwhile waits for the same one. */
  pull(): Promise<void> {
    this.#pulling ??= this.#pull().finally(() => {
      this.#pulling = null;
    });
    return this.#pulling;
  }

  async loadKept(): Promise<void> {
    const bytes = this.#deps.kept.read(KEPT_NAME);
    if (bytes === null || this.#deps.keys() === null) return;
    const opened = await this.#open(bytes);
    if (opened.ok) await this.#use(opened.value);
    else this.#deps.log.warn({ event: 'kept-manifest-unused' }, opened.failure.detail);
  }

  async #pull(): Promise<void> {
    const answer = await this.#deps.fetch(this.#current.version);
    if (!answer.ok) return this.#refuse(answer.failure.detail);
    if (typeof answer.value === 'string') return;
    const opened = await this.#open(answer.value);
    if (!opened.ok) return this.#refuse(opened.failure.detail);
    this.#deps.kept.write(KEPT_NAME, answer.value);
    this.#problem = null;
    await this.#use(opened.value);
    this.#deps.log.info(
      { event: 'manifest-taken', version: opened.value.version, files: opened.value.files.size },
      'manifest taken',
    );
  }

  async #open(bytes: Buffer): Promise<Outcome<ManifestSet>> {
    const ring = this.#deps.keys();
    if (ring === null) return failed(refusal('no keys yet to check it with'));
    const { applianceId, clusterId } = this.#deps.identity;
    const versionInUse = this.#current.version;
    const opened = await readManifest(bytes, ring, { applianceId, clusterId, versionInUse });
    if (!opened.ok) return failed(refusal(`${opened.failure.refusal}: ${opened.failure.detail}`));
    const manifest = await ManifestSet.of(opened.value.header, opened.value.entries);
    const roomBytes = this.#deps.roomBytes();
    if (manifest.bytes <= roomBytes) return success(manifest);
    return failed(
      refusal(
        `manifest-too-large: version ${manifest.version} wants ${manifest.bytes} bytes, the volumes have ${roomBytes}`,
      ),
    );
  }

  async #use(manifest: ManifestSet): Promise<void> {
    this.#current = manifest;
    await this.#deps.use(manifest);
  }

  #refuse(detail: string): void {
    if (this.#problem !== detail) {
      this.#deps.log.error(
        { event: 'manifest-refused', inUse: this.#current.version },
        `the manifest is not taken, version ${this.#current.version} stays in use: ${detail}`,
      );
    }
    this.#problem = detail;
  }
}

function refusal(detail: string): Failure {
  return { code: 'manifest-refused', source: 'upstream', retry: 'same-source', detail };
}
