import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect as connectPlain, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { CHUNK_BYTES, signedContentUrl } from '#upstream/contract.ts';
import { readCertificate } from './certificate.ts';
import { examine } from './doctor.ts';
import { HotChunks } from './hot-chunks.ts';
import { PortableSender } from './portable-sender.ts';
import { senderContract } from './sender-contract.ts';
import { makeCertificate, NO_OPENSSL } from './test-certificate.ts';
import { entryOf, get, makeFile, until, World } from './test-world.ts';

const FILM = makeFile(41, 3 * CHUNK_BYTES + 5);

function dialTls(port: number, version?: SecureVersion): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      ...(version === undefined ? {} : { minVersion: version, maxVersion: version }),
    });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

describe('TLS', { skip: NO_OPENSSL }, () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-tls-'));
  after(() => rmSync(directory, { recursive: true }));
  const files = NO_OPENSSL === false ? makeCertificate(directory, 'box') : null;

  if (files !== null) {
    const certificate = readCertificate(files);
    assert.ok(certificate.ok);
    senderContract(
      'portable, TLS',
      (handle, limits) =>
        new PortableSender(handle, limits, new HotChunks(64 * 1024 * 1024), certificate.value),
      (port) => dialTls(port),
    );
  }

  async function served(): Promise<{
    world: World;
    tls: { certificateFile: string; keyFile: string };
  }> {
    const world = await World.open();
    const { certificateFile, keyFile } = files!;
    const tls = {
      listen: { address: '127.0.0.1', port: 0 },
      certificateFile: path.join(world.directory, 'live.crt'),
      keyFile: path.join(world.directory, 'live.key'),
    };
    copyFileSync(certificateFile, tls.certificateFile);
    copyFileSync(keyFile, tls.keyFile);
    world.origin.add(FILM);
    await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
    const box = await world.start({ tls });
    await until(() => box.store.holdings.count === 1, 'held');
    return { world, tls };
  }

  test('viewers are served over TLS 1.3 and 1.2 beside plain HTTP, and nothing older', async () => {
    const { world } = await served();
    await using box = world;
    const port = box.box!.tls!.port;
    const url = signedContentUrl(
      `https://127.0.0.1:${port}`,
      await box.token('film'),
      'film',
      FILM.fileId,
    );
    for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
      const got = await new Promise<{ status: number; protocol: string; body: Buffer }>(
        (resolve, reject) => {
          const options = {
            ca: readFileSync(files!.certificateFile),
            agent: false as const,
            minVersion: version,
            maxVersion: version,
            headers: { range: `bytes=1000-${CHUNK_BYTES + 1000}` },
          };
          httpsRequest(url, options, (response) => {
            const protocol = String((response.socket as TLSSocket).getProtocol());
            response.toArray().then((parts: Buffer[]) => {
              resolve({ status: response.statusCode ?? 0, protocol, body: Buffer.concat(parts) });
            }, reject);
          })
            .on('error', reject)
            .end();
        },
      );
      assert.equal(got.status, 206);
      assert.equal(got.protocol, version);
      assert.ok(got.body.equals(FILM.content.subarray(1000, CHUNK_BYTES + 1001)));
    }
    await assert.rejects(dialTls(port, 'TLSv1.1'));
    assert.equal((await get(await box.url('film', FILM.fileId))).status, 200, 'plain too');
    const metrics = await get(`${box.adminUrl}/metrics`);
    const expiry = /tls_certificate_expiry_timestamp_seconds (\d+)/.exec(metrics.body.toString());
    assert.ok(Number(expiry?.[1]) > Date.now() / 1000 + 80 * 86_400);
  });

  test('a reload gives new connections the new certificate, running ones go on; a bad pair changes nothing', async () => {
    const { world, tls } = await served();
    await using box = world;
    const running = await dialTls(box.box!.tls!.port);
    const nameNow = async (): Promise<string> => {
      const socket = await dialTls(box.box!.tls!.port);
      const { subject } = socket.getPeerCertificate();
      socket.destroy();
      return String(subject.CN);
    };
    assert.equal(await nameNow(), 'box');
    const next = makeCertificate(directory, 'next');
    copyFileSync(next.certificateFile, tls.certificateFile);
    box.box!.reload(box.config({ tls: { ...tls, listen: { address: '127.0.0.1', port: 0 } } }));
    assert.equal(await nameNow(), 'box', 'the key is not there yet');
    copyFileSync(next.keyFile, tls.keyFile);
    box.box!.reload(box.config({ tls: { ...tls, listen: { address: '127.0.0.1', port: 0 } } }));
    assert.equal(await nameNow(), 'next');
    const answered = new Promise<string>((resolve) =>
      running.once('data', (data) => resolve(data.toString('latin1'))),
    );
    running.write('GET /t/none HTTP/1.1\r\nHost: b\r\n\r\n');
    assert.match(await answered, /^HTTP\/1\.1 404/);
    running.destroy();
  });

  test('a start with a key of another certificate says so and serves nothing', async () => {
    await using world = await World.open();
    const other = makeCertificate(directory, 'other');
    const tls = {
      listen: { address: '127.0.0.1', port: 0 },
      certificateFile: files!.certificateFile,
      keyFile: other.keyFile,
    };
    await assert.rejects(world.start({ tls }), /other\.key does not belong to .*box\.crt/);
  });

  test('doctor says which names, until when, who may read the key, and what does not fit', async () => {
    await using world = await World.open();
    const other = makeCertificate(directory, 'examined');
    const found = (tls: object | undefined): string =>
      examine(world.config(tls === undefined ? {} : { tls }))
        .map(({ level, what }) => `${level}: ${what}`)
        .join('\n');
    const listen = { address: '127.0.0.1', port: 0 };
    assert.match(
      found({ listen, ...other }),
      /ok: TLS 1\.3 and 1\.2 .*: localhost, 127\.0\.0\.1, until 20/,
    );
    chmodSync(other.keyFile, 0o644);
    assert.match(
      found({ listen, ...other }),
      /problem: everybody may read the key .*examined\.key/,
    );
    assert.match(
      found({ listen, ...files!, keyFile: other.keyFile }),
      /problem: the key .* does not belong/,
    );
    assert.match(found(undefined), /advice: no TLS listener/);
  });

  test('who never shakes hands, or speaks no TLS, is closed and counted', async () => {
    const certificate = readCertificate(files!);
    assert.ok(certificate.ok);
    const limits = {
      headerBytesMax: 16 * 1024,
      headersTimeoutMs: 200,
      keepAliveTimeoutMs: 1000,
      connectionsMax: 10,
      pipelinedMax: 16,
      deliveryBytesPerSecondMin: 1024,
      deliveryGraceMs: 10_000,
    };
    const sender = new PortableSender(
      () => assert.fail('nobody is asked'),
      limits,
      new HotChunks(0),
      certificate.value,
    );
    const bound = await sender.listen({ address: '127.0.0.1', port: 0 });
    assert.ok(bound.ok);
    const closed = (socket: Socket): Promise<void> =>
      new Promise((resolve) => {
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        socket.resume();
      });
    const silent = connectPlain(bound.value.port, '127.0.0.1');
    const plain = connectPlain(bound.value.port, '127.0.0.1');
    plain.write('GET / HTTP/1.1\r\nHost: b\r\n\r\n');
    await Promise.all([closed(silent), closed(plain)]);
    await until(() => sender.stats().connections === 0, 'both are gone');
    assert.equal(sender.stats().cut.malformed, 2);
    await sender.close(0);
  });
});
