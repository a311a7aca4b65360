/**
 * Pulls the manifest, checks everything about it, and only then lets it act. The last good one is kept on disk.
 *
 *   pulled --signature, owner, version, base, digest, size--> checked --deletes little, or confirmed--> in use
 *                                                                \-- deletes much --> held back
 *
 * Invariants: (1) nothing acts on a manifest before its signature, owner, version, digest and size were checked
 *             (2) a refused one changes nothing: the one in use stays, and the problem is told in the heartbeat
 *             (3) on disk lies a full manifest and the deltas that were taken after it; a chain that does not fit ends there
 */
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { MANIFEST_DELTAS_MAX, type KeyRing } from '#control-plane/contract.ts';
import { readManifest } from '#control-plane/control-plane.ts';
import type { FileId } from '#upstream/contract.ts';
import { decideDeletes, holdInWords, lossOf } from '../fill/delete-hold.ts';
import { ManifestSet, NO_MANIFEST } from '../fill/manifest-set.ts';
import type { Identity } from './identity.ts';
import type { KeptDocuments } from './kept-documents.ts';

const KEPT_NAME = 'manifest.bin';
const HELD_NAME = 'manifest-held.json';

const deltaName = (at: number): string => `manifest.delta-${at}.bin`;

export interface ManifestIntakeDeps {
  readonly identity: Identity;
  readonly kept: KeptDocuments;
  readonly log: Logger;
  readonly keys: () => KeyRing | null;
  readonly fetch: (
    version: number,
    mayBeDelta: boolean,
  ) => Promise<Outcome<Buffer | 'current' | 'none'>>;
  readonly roomBytes: () => number; // what a manifest may claim here
  readonly isHeld: (fileId: FileId) => boolean;
  readonly use: (manifest: ManifestSet) => Promise<void>;
}

interface Opened {
  readonly manifest: ManifestSet;
  readonly kind: 'full' | 'delta';
}

/** What waits for a confirmation. */
interface HeldBack {
  readonly version: number;
  readonly opened: Opened | null; // null: of before a restart, pulled again when it is confirmed
  readonly bytes: Buffer | null;
}

export interface ManifestStatus {
  readonly version: number;
  readonly files: number;
  readonly bytes: number;
  readonly heldBackVersion: number | null;
  readonly problem: string | null;
}

export class ManifestIntake {
  readonly #deps: ManifestIntakeDeps;
  #current = NO_MANIFEST;
  #problem: string | null = null;
  #pulling: Promise<void> | null = null;
  #heldBack: HeldBack | null = null;
  #isConfirmed = false;
  #deltasKept = 0;

  constructor(deps: ManifestIntakeDeps) {
    this.#deps = deps;
    const kept = deps.kept.readJson(HELD_NAME);
    if (typeof kept === 'object' && kept !== null && 'version' in kept) {
      const version = Number(kept.version);
      if (version > 0) this.#heldBack = { version, opened: null, bytes: null };
    }
  }

  get current(): ManifestSet {
    return this.#current;
  }

  /** Nothing up to this version needs to be pulled. */
  get latestKnown(): number {
    const isLoaded = this.#heldBack?.opened != null;
    return isLoaded
      ? Math.max(this.#current.version, this.#heldBack!.version)
      : this.#current.version;
  }

  get problem(): string | null {
    return this.#problem;
  }

  get status(): ManifestStatus {
    return {
      version: this.#current.version,
      files: this.#current.files.size,
      bytes: this.#current.bytes,
      heldBackVersion: this.#heldBack?.version ?? null,
      problem: this.#problem,
    };
  }

  /** One pull at a time; whoever asks meanwhile waits for the same one. */
  pull(): Promise<void> {
    this.#pulling ??= this.#pull().finally(() => {
      this.#pulling = null;
    });
    return this.#pulling;
  }

  /** An operator says that the deletes are meant. */
  async confirm(): Promise<ManifestStatus> {
    const held = this.#heldBack;
    if (held === null) return this.status;
    if (held.opened !== null && held.bytes !== null) await this.#take(held.opened, held.bytes);
    else {
      this.#isConfirmed = true;
      await this.pull();
      this.#isConfirmed = false;
    }
    return this.status;
  }

  async loadKept(): Promise<void> {
    if (this.#deps.keys() === null) return;
    for (let at = 0; at <= MANIFEST_DELTAS_MAX; at++) {
      const bytes = this.#deps.kept.read(at === 0 ? KEPT_NAME : deltaName(at));
      if (bytes === null) return;
      const opened = await this.#open(bytes);
      if (!opened.ok) {
        if (at === 0) {
          this.#deps.log.warn({ event: 'kept-manifest-unused' }, opened.failure.detail);
        }
        return; // a delta of an earlier full one: the chain ends here
      }
      this.#deltasKept = at;
      await this.#use(opened.value.manifest);
    }
  }

  async #pull(): Promise<void> {
    const mayBeDelta = this.#current.version > 0 && this.#deltasKept < MANIFEST_DELTAS_MAX;
    const first = await this.#deps.fetch(this.#current.version, mayBeDelta);
    if (!first.ok) return this.#refuse(first.failure.detail);
    if (typeof first.value === 'string') return;
    let bytes = first.value;
    let opened = await this.#open(bytes);
    if (!opened.ok && mayBeDelta) {
      // Whatever was wrong with a delta, the full one is asked for once.
      this.#deps.log.warn({ event: 'manifest-delta-unused' }, opened.failure.detail);
      const full = await this.#deps.fetch(this.#current.version, false);
      if (!full.ok) return this.#refuse(full.failure.detail);
      if (typeof full.value === 'string') return;
      bytes = full.value;
      opened = await this.#open(bytes);
    }
    if (!opened.ok) return this.#refuse(opened.failure.detail);
    await this.#decide(opened.value, bytes);
  }

  async #decide(opened: Opened, bytes: Buffer): Promise<void> {
    const { manifest } = opened;
    const { version } = manifest;
    const earlier = this.#heldBack;
    if (this.#current.version > 0 && !this.#isConfirmed) {
      const loss = lossOf(this.#current, manifest, this.#deps.isHeld);
      const before = earlier !== null && earlier.version < version ? earlier.version : null;
      if (decideDeletes(loss, before) === 'hold') {
        this.#heldBack = { version, opened, bytes };
        this.#deps.kept.write(HELD_NAME, JSON.stringify({ version }));
        return this.#refuse(holdInWords(version, loss));
      }
    }
    await this.#take(opened, bytes);
  }

  async #take({ manifest, kind }: Opened, bytes: Buffer): Promise<void> {
    this.#deltasKept = kind === 'full' ? 0 : this.#deltasKept + 1;
    this.#deps.kept.write(kind === 'full' ? KEPT_NAME : deltaName(this.#deltasKept), bytes);
    if (this.#heldBack !== null) this.#deps.kept.write(HELD_NAME, '{}');
    this.#heldBack = null;
    this.#problem = null;
    await this.#use(manifest);
    this.#deps.log.info(
      {
        event: 'manifest-taken',
        version: manifest.version,
        kind,
        bytes: bytes.length,
        files: manifest.files.size,
      },
      'manifest taken',
    );
  }

  async #open(bytes: Buffer): Promise<Outcome<Opened>> {
    const ring = this.#deps.keys();
    if (ring === null) return failed(refusal('no keys yet to check it with'));
    const { applianceId, clusterId } = this.#deps.identity;
    const inUse = this.#current;
    const opened = await readManifest(bytes, ring, {
      applianceId,
      clusterId,
      versionInUse: inUse.version,
      ...(inUse.version > 0 ? { base: { files: inUse.files } } : {}),
    });
    if (!opened.ok) return failed(refusal(`${opened.failure.refusal}: ${opened.failure.detail}`));
    const { header, entries } = opened.value;
    const manifest = await ManifestSet.of(header, entries);
    const roomBytes = this.#deps.roomBytes();
    if (manifest.bytes <= roomBytes) return success({ manifest, kind: header.kind });
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
