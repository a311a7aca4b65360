import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import {
  CertificateWatch,
  expiryProblem,
  readCertificate,
  type Certificate,
  type CertificateFiles,
} from './certificate.ts';
import { makeCertificate, NO_OPENSSL } from './test-certificate.ts';

class Directory implements Disposable {
  readonly path = mkdtempSync(path.join(tmpdir(), 'nightfill-certificate-'));

  file(name: string): string {
    return path.join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

function whyNot(files: CertificateFiles): string {
  const read = readCertificate(files);
  return read.ok ? 'it was taken' : read.failure.detail;
}

test('a pair that fits is read, with its names and its end', { skip: NO_OPENSSL }, () => {
  using directory = new Directory();
  const read = readCertificate(makeCertificate(directory.path, 'box'));
  assert.ok(read.ok);
  assert.deepEqual(read.value.names, ['localhost', '127.0.0.1']);
  const days = (read.value.notAfterMs - Date.now()) / 86_400_000;
  assert.ok(days > 89 && days < 91, `${days} days`);
});

test('what does not fit says which file, why, and what to do', { skip: NO_OPENSSL }, () => {
  using directory = new Directory();
  const good = makeCertificate(directory.path, 'box');
  const other = makeCertificate(directory.path, 'other');
  const none = directory.file('none');
  const junk = directory.file('junk');
  writeFileSync(junk, '-----BEGIN CERTIFICATE-----\nsecret words\n-----END CERTIFICATE-----\n');
  assert.match(
    whyNot({ ...good, keyFile: other.keyFile }),
    /other\.key does not belong to .*box\.crt/,
  );
  assert.match(whyNot({ ...good, keyFile: none }), /key .*none does not exist: put it there/);
  assert.match(whyNot({ ...good, certificateFile: none }), /certificate .*none does not exist/);
  assert.match(whyNot({ ...good, certificateFile: junk }), /junk holds no PEM certificate/);
  const noKey = whyNot({ ...good, keyFile: junk });
  assert.match(noKey, /junk holds no usable private key/);
  assert.ok(!noKey.includes('secret words'));
});

test('an expiry is said two weeks ahead, and after it', () => {
  const day = 86_400_000;
  const certificate: Certificate = {
    certificatePem: '',
    keyPem: '',
    names: [],
    notAfterMs: Date.UTC(2026, 11, 24),
  };
  assert.equal(expiryProblem(certificate, Date.UTC(2026, 11, 24) - 15 * day), null);
  assert.match(
    String(expiryProblem(certificate, Date.UTC(2026, 11, 24) - 13 * day)),
    /expires at 2026-12-24T00:00:00.000Z: renew it now/,
  );
  assert.match(String(expiryProblem(certificate, Date.UTC(2026, 11, 24))), /expired at/);
});

test(
  'a new pair is used when both files are there; a half, a stranger’s key and an expired one change nothing',
  { skip: NO_OPENSSL },
  () => {
    using directory = new Directory();
    const [first, second] = ['first', 'second'].map((name) =>
      makeCertificate(directory.path, name),
    );
    const files = {
      certificateFile: directory.file('live.crt'),
      keyFile: directory.file('live.key'),
    };
    const install = (from: CertificateFiles, parts: readonly (keyof CertificateFiles)[]): void => {
      for (const part of parts) copyFileSync(from[part], files[part]);
    };
    install(first, ['certificateFile', 'keyFile']);
    const clock = new SimulatedClock(Date.now());
    const current = readCertificate(files);
    assert.ok(current.ok);
    const used: Certificate[] = [];
    const watch = new CertificateWatch(
      { files, clock, log: createLogger('test', 'silent'), use: (next) => used.push(next) },
      current.value,
    );
    watch.start();
    clock.advance(20_000);
    assert.equal(used.length, 0, 'nothing changed');
    install(second, ['certificateFile']);
    clock.advance(10_000);
    assert.equal(used.length, 0, 'the key is not there yet');
    install(second, ['keyFile']);
    clock.advance(10_000);
    assert.equal(used.length, 1);
    assert.equal(watch.current.certificatePem, used[0].certificatePem);
    clock.jumpWall(100 * 86_400_000);
    install(first, ['certificateFile', 'keyFile']);
    const reloaded = watch.reload();
    assert.ok(!reloaded.ok);
    assert.match(reloaded.failure.detail, /has expired already/);
    assert.equal(used.length, 1);
    watch.stop();
  },
);
