/**
 * Last good documents on disk, so that a restart without the control plane knows what it knew: manifest, grant,
 * sources, signed listings, trusted time. Whole files, written aside and renamed; each is verified again when read.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from '#base/log.ts';
import { codeOf, messageOf } from '#base/outcome.ts';

export class KeptDocuments {
  readonly #directory: string;
  readonly #log: Logger;

  constructor(stateDir: string, log: Logger) {
    this.#directory = path.join(stateDir, 'kept');
    this.#log = log;
    mkdirSync(path.join(this.#directory, 'listings'), { recursive: true, mode: 0o700 });
  }

  read(name: string): Buffer | null {
    try {
      return readFileSync(path.join(this.#directory, name));
    } catch (thrown) {
      if (codeOf(thrown) !== 'ENOENT')
        this.#log.warn({ name, why: messageOf(thrown) }, 'a kept document cannot be read');
      return null;
    }
  }

  readJson(name: string): unknown {
    const bytes = this.read(name);
    if (bytes === null) return null;
    try {
      return JSON.parse(bytes.toString('utf8')) as unknown;
    } catch {
      return null; // torn by a power cut: as if it had not been kept
    }
  }

  /** A disk that cannot keep it costs the next restart some knowledge, nothing now. */
  write(name: string, content: string | Uint8Array): void {
    const file = path.join(this.#directory, name);
    try {
      writeFileSync(`${file}.new`, content, { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (thrown) {
      this.#log.warn({ name, why: messageOf(thrown) }, 'a document cannot be kept on disk');
    }
  }
}
