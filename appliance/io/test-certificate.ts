/**
 * Self-signed certificates for tests, made when they are needed by the machine's openssl.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import path from 'node:path';
import type { CertificateFiles } from './certificate.ts';

/** Why there can be none here; false where there can. For `test({ skip })`. */
export const NO_OPENSSL: string | false =
  spawnSync('openssl', ['version']).error === undefined ? false : 'openssl is not installed';

/** For localhost and 127.0.0.1; `name` is its subject. */
export function makeCertificate(directory: string, name: string): CertificateFiles {
  const certificateFile = path.join(directory, `${name}.crt`);
  const keyFile = path.join(directory, `${name}.key`);
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
  const kind = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90'.split(' ');
  const subject = ['-subj', `/CN=${name}`, '-addext', names];
  const output = ['-keyout', keyFile, '-out', certificateFile];
  execFileSync('openssl', [...kind, ...subject, ...output], { stdio: 'pipe' });
  return { certificateFile, keyFile };
}
