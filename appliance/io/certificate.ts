/**
 * The box's TLS certificate: read, checked against its key, and read again when a file changes.
 *
 * Invariants: (1) what is in use was whole when it was read: the key matches the certificate, and it has not expired at a start
 *             (2) a change that does not pass the checks leaves the old certificate in use, and is said once
 *             (3) a key is never in a log line or an error
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { codeOf, failed, success, type Failure, type Outcome } from '#base/outcome.ts';

/** Files are looked at, not watched: certbot and Kubernetes change links and directories, which a watch loses. */
const LOOK_MS = 5000;
const PEM_BYTES_MAX = 256 * 1024;
/** Renewal tools begin 30 days ahead; what is left at 14 days was forgotten. */
export const EXPIRES_SOON_MS = 14 * 24 * 3600 * 1000;

export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface Certificate {
  readonly certificatePem: string; // with its chain
  readonly keyPem: string;
  readonly notAfterMs: number;
  readonly names: readonly string[];
}

/** Errors: which file, what is wrong with it, and what to do. */
export function readCertificate(files: CertificateFiles): Outcome<Certificate> {
  const certificatePem = readPem(files.certificateFile, 'certificate');
  if (!certificatePem.ok) return certificatePem;
  const keyPem = readPem(files.keyFile, 'key');
  if (!keyPem.ok) return keyPem;
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(certificatePem.value);
  } catch (thrown) {
    return refused(
      `${files.certificateFile} holds no PEM certificate: it must begin with the box’s own, then its chain`,
      thrown,
    );
  }
  try {
    const key = createPrivateKey(keyPem.value);
    if (!certificate.checkPrivateKey(key)) {
      return refused(
        `the key ${files.keyFile} does not belong to the certificate ${files.certificateFile}: give the pair of one order`,
      );
    }
  } catch {
    // Not the thrown text: it may quote what was read.
    return refused(
      `${files.keyFile} holds no usable private key: unencrypted PEM (PKCS #8, SEC 1 or PKCS #1) is needed`,
    );
  }
  return success({
    certificatePem: certificatePem.value,
    keyPem: keyPem.value,
    notAfterMs: Date.parse(certificate.validTo),
    names: namesOf(certificate),
  });
}

function readPem(file: string, what: 'certificate' | 'key'): Outcome<string> {
  try {
    const { size } = statSync(file);
    if (size > PEM_BYTES_MAX) return refused(`${file} has ${size} bytes: that is no ${what}`);
    return success(readFileSync(file, 'utf8'));
  } catch (thrown) {
    const code = codeOf(thrown);
    return refused(
      code === 'ENOENT'
        ? `the TLS ${what} ${file} does not exist: put it there, or take "tls" out of the configuration`
        : code === 'EACCES'
          ? `the TLS ${what} ${file} may not be read by this user: give it to the box’s group, mode 0640`
          : `the TLS ${what} ${file} cannot be read (${code})`,
      thrown,
    );
  }
}

function namesOf(certificate: X509Certificate): readonly string[] {
  const names = certificate.subjectAltName?.split(', ').map((name) => name.replace(/^[^:]+:/, ''));
  return names ?? [certificate.subject.replaceAll('\n', ', ')];
}

function refused(detail: string, cause?: unknown): { ok: false; failure: Failure } {
  return failed({ code: 'certificate', source: 'self', retry: 'never', detail, cause });
}

/** What an operator should hear of a certificate; null while there is nothing to do. */
export function expiryProblem(certificate: Certificate, nowMs: number): string | null {
  const date = new Date(certificate.notAfterMs).toISOString();
  if (nowMs >= certificate.notAfterMs)
    return `TLS certificate expired at ${date}: clients refuse it`;
  return certificate.notAfterMs - nowMs < EXPIRES_SOON_MS
    ? `TLS certificate expires at ${date}: renew it now`
    : null;
}

export interface CertificateWatchDeps {
  readonly files: CertificateFiles;
  readonly clock: Clock;
  readonly log: Logger;
  readonly use: (certificate: Certificate) => void;
}

/** Hands over each new certificate that passes the checks. */
export class CertificateWatch {
  readonly #deps: CertificateWatchDeps;
  #timer: Timer | null = null;
  #current: Certificate;
  #stamp: string;
  #lastRefusal: string | null = null;

  constructor(deps: CertificateWatchDeps, current: Certificate) {
    this.#deps = deps;
    this.#current = current;
    this.#stamp = stampOf(deps.files);
  }

  get current(): Certificate {
    return this.#current;
  }

  start(): void {
    this.#timer = this.#deps.clock.every(LOOK_MS, () => {
      if (stampOf(this.#deps.files) !== this.#stamp) this.reload();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Reads both files now. The old certificate stays where they do not fit; they are looked at again when one changes. */
  reload(): Outcome<Certificate> {
    const { files, log, clock, use } = this.#deps;
    this.#stamp = stampOf(files);
    const read = readCertificate(files);
    const isExpired = read.ok && read.value.notAfterMs <= clock.wallMs();
    const why = !read.ok
      ? read.failure.detail
      : isExpired
        ? `${files.certificateFile} has expired already`
        : null;
    if (!read.ok || why !== null) {
      if (why !== this.#lastRefusal) {
        log.error({ event: 'certificate-refused' }, `the old certificate stays: ${why}`);
      }
      this.#lastRefusal = why;
      return read.ok ? refused(why ?? '') : read;
    }
    this.#lastRefusal = null;
    if (read.value.certificatePem === this.#current.certificatePem) return read;
    this.#current = read.value;
    use(read.value);
    log.info(
      { event: 'certificate-replaced', expiresAt: new Date(read.value.notAfterMs).toISOString() },
      'new connections get the new certificate',
    );
    return read;
  }
}

/** Changes whenever either file does, also by a link that points elsewhere. */
function stampOf(files: CertificateFiles): string {
  return [files.certificateFile, files.keyFile]
    .map((file) => {
      try {
        const { ino, size, mtimeMs } = statSync(file);
        return `${ino} ${size} ${mtimeMs}`;
      } catch {
        return 'absent';
      }
    })
    .join(' | ');
}
