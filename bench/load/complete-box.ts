/**
 * A whole small CDN for one bench: control plane, origin with one published file, and boxes in front of them, each a real
 * process with its real configuration. What is measured is what an operator runs: token, accounting, metrics, heartbeats.
 */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { callJsonOk } from '#base/io/http-client.ts';
import { importSigningKey, signatureOf, type JWK, type SigningKey } from '#base/jws.ts';
import { GIB, MIB } from '#base/units.ts';
import { signViewerToken } from '#steering/contract.ts';
import { checkTitleListing, CHUNK_BYTES, contentPath } from '#upstream/contract.ts';
import { NODE_FLAGS, startServer, type RunningServer } from './measure.ts';
import { machineLoopback } from './namespace.ts';

const CLI = path.join(import.meta.dirname, '..', '..', 'cli.ts');
const ROLES = ['publish', 'planner', 'steering', 'playback', 'operator'] as const;
const TITLE_ID = 'bench';
const CALL_MS_MAX = 20_000;
const SERVING_MS_MAX = 30_000;
const ADOPT_MS_MAX = 600_000;
const TOKEN_SECONDS = 24 * 3600;
const WARM_ROUNDS_MAX = 6; // a reactive file is kept on its second request

export interface BenchFile {
  readonly fileId: string;
  readonly sizeBytes: number;
  /** The origin's copy: what nginx serves, and what answers are compared with. */
  readonly path: string;
  readonly originPath: string; // "/<fileId>" under the origin's files
  /** The request target on a box, with a viewer token in it. */
  readonly target: string;
}

export interface BoxOptions {
  readonly applianceId: string;
  readonly sender: 'zero-copy' | 'portable';
  readonly port: number;
  /** Core to run on; null: any. */
  readonly isPinned: boolean;
  readonly listeners?: number;
  readonly reactiveShare?: number;
  /** Absent: one, with room for four times what was published. */
  readonly volumes?: readonly { readonly path: string; readonly capacityBytes: number }[];
  /** A TLS listener beside the plain one. */
  readonly tls?: {
    readonly port: number;
    readonly certificateFile: string;
    readonly keyFile: string;
  };
  /** 0: nothing is read back. Absent: the default. */
  readonly scrubBytesPerSecond?: number;
}

export interface BenchBox extends RunningServer {
  readonly port: number;
  readonly adminPort: number;
  readonly statusOf: () => Promise<unknown>;
}

/** Everything of it lives on `address`, which must be loopback; ports from `portBase` on. */
export class CompleteCdn implements AsyncDisposable {
  readonly directory: string;
  readonly address: string;
  readonly originFiles: string;
  #portBase: number;
  #servers: RunningServer[] = [];
  #tokens: Record<string, string> = {};
  #fingerprint = '';
  #files: BenchFile[] = [];

  private constructor(address: string, portBase: number, parent: string) {
    this.address = address;
    this.#portBase = portBase;
    this.directory = mkdtempSync(path.join(parent, 'nightfill-bench-'));
    this.originFiles = path.join(this.directory, 'origin', 'files');
    process.on('exit', this.#remove);
  }

  /** Also where the bench is ended by a signal. */
  readonly #remove = (): void => rmSync(this.directory, { recursive: true, force: true });

  /** `parent` should be on the disk that is to be measured. `spec` as of `nightfill publish --opaque`. */
  static async start(
    spec: string,
    address = '127.0.0.1',
    portBase = 17_800,
    parent = tmpdir(),
  ): Promise<CompleteCdn> {
    const cdn = new CompleteCdn(address, portBase, parent);
    try {
      await cdn.#start(spec);
    } catch (thrown) {
      await cdn[Symbol.asyncDispose]();
      throw thrown;
    }
    return cdn;
  }

  get files(): readonly BenchFile[] {
    return this.#files;
  }

  get originUrl(): string {
    return `http://${this.address}:${this.#portBase + 1}`;
  }

  originStatus(): Promise<unknown> {
    return call('GET', `http://${this.address}:${this.#portBase + 2}/status`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers.reverse()) await server[Symbol.asyncDispose]();
    this.#remove();
    process.off('exit', this.#remove);
  }

  async #start(spec: string): Promise<void> {
    const keysDir = path.join(this.directory, 'keys');
    command([['keys', 'init', keysDir]]);
    this.#fingerprint = readFileSync(path.join(keysDir, 'root.fingerprint'), 'utf8').trim();
    this.#tokens = Object.fromEntries(
      ROLES.map((role) => [role, randomBytes(24).toString('base64url')]),
    );
    const controlPlaneUrl = `http://${this.address}:${this.#portBase}`;
    await this.#daemon('control-plane', {
      listen: this.#listen(0),
      publicUrl: controlPlaneUrl,
      stateDir: path.join(this.directory, 'control-plane'),
      keysDir,
      serviceTokens: ROLES.map((role) => ({
        name: role,
        role,
        sha256: createHash('sha256').update(this.#tokens[role]).digest('base64url'),
      })),
      origin: { baseUrl: this.originUrl, adminUrl: `http://${this.address}:${this.#portBase + 2}` },
      playbackUrl: `http://${this.address}:${this.#portBase + 3}`,
      steeringUrl: `http://${this.address}:${this.#portBase + 4}`,
      planning: { cronUtc: '0 1 * * *', planCommand: [process.execPath, CLI, 'plan'] },
    });
    await this.#daemon('origin', {
      listen: this.#listen(1),
      admin: this.#listen(2),
      stateDir: path.join(this.directory, 'origin'),
      controlPlaneUrl,
      rootFingerprint: this.#fingerprint,
    });
    const tokenFile = this.#write('publish.token', this.#tokens['publish']);
    command([
      ['publish', '--opaque', spec, '--title-id', TITLE_ID, '--control-plane', controlPlaneUrl],
      ['--token-file', tokenFile, '--origin-dir', path.join(this.directory, 'origin')],
    ]);
    await this.#call('POST', '/v1/sites', {
      siteId: 'bench',
      name: 'bench',
      country: 'FR',
      fillWindow: { startLocal: '00:00', hours: 24, timeZone: 'Europe/Paris' },
      clusters: [{ clusterId: 'bench', prefixes: ['127.0.0.0/8'] }],
    });
    this.#files = await this.#publishedFiles();
  }

  /** Request targets for `file` with a token of its own each; forged: nobody signed them. One a line, in a file. */
  async targetsFile(file: BenchFile, count: number, isForged: boolean): Promise<string> {
    const key = await this.#tokenKey();
    const [header, body] = (await viewerToken(key)).split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as { exp: number };
    const lines: string[] = [];
    for (let at = 0; at < count; at++) {
      const payload = Buffer.from(JSON.stringify({ ...claims, exp: claims.exp + at }));
      const signed = `${header}.${payload.toString('base64url')}`;
      const signature = isForged ? randomBytes(64) : await signatureOf(key, signed);
      const token = `${signed}.${signature.toString('base64url')}`;
      lines.push(`/;URISigningPackage=${token}${contentPath(TITLE_ID, file.fileId)}`);
    }
    return this.#write(isForged ? 'forged.txt' : 'crowd.txt', lines.join('\n'));
  }

  async #tokenKey(): Promise<SigningKey> {
    const file = path.join(this.directory, 'keys', 'token.jwk');
    return importSigningKey(JSON.parse(readFileSync(file, 'utf8')) as JWK);
  }

  async #publishedFiles(): Promise<BenchFile[]> {
    const checked = checkTitleListing(await this.#call('GET', `/v1/titles/${TITLE_ID}`));
    if (!checked.ok) throw new Error(`the listing of ${TITLE_ID}: ${checked.failure.join('; ')}`);
    const token = await viewerToken(await this.#tokenKey());
    const onDisk = new Set(readdirSync(this.originFiles));
    return checked.value.files.map(({ fileId, sizeBytes }) => {
      if (!onDisk.has(fileId)) throw new Error(`the origin lacks ${fileId}`);
      return {
        fileId,
        sizeBytes,
        path: path.join(this.originFiles, fileId),
        originPath: `/${fileId}`,
        target: `/;URISigningPackage=${token}${contentPath(TITLE_ID, fileId)}`,
      };
    });
  }

  /** Starts a box; `warm` makes it hold every file. */
  async box(options: BoxOptions): Promise<BenchBox> {
    const { applianceId, port } = options;
    const answer = (await this.#call('POST', '/v1/enrolment-tokens', {
      applianceId,
      siteId: 'bench',
      clusterId: 'bench',
    })) as { token: string };
    const stateDir = path.join(this.directory, applianceId);
    const volume = path.join(stateDir, 'volume');
    mkdirSync(volume, { recursive: true, mode: 0o700 });
    const total = this.#files.reduce((sum, file) => sum + file.sizeBytes, 0);
    const adminPort = port + 1;
    const config = {
      applianceId,
      listen: { address: this.address, port },
      publicBaseUrl: `http://${this.address}:${port}`,
      admin: { address: this.address, port: adminPort },
      stateDir: path.join(stateDir, 'state'),
      volumes: options.volumes ?? [{ path: volume, capacityBytes: Math.max(GIB, 4 * total) }],
      enrolmentTokenFile: this.#write(`${applianceId}.token`, answer.token),
      applianceClass: 'flash',
      servingBps: 100_000_000_000,
      reactiveShare: options.reactiveShare ?? 1,
      sender: options.sender,
      ...(options.listeners === undefined ? {} : { listeners: options.listeners }),
      hotCacheBytes: 512 * MIB,
      ...(options.tls === undefined
        ? {}
        : {
            tls: {
              listen: { address: this.address, port: options.tls.port },
              certificateFile: options.tls.certificateFile,
              keyFile: options.tls.keyFile,
            },
          }),
      ...(options.scrubBytesPerSecond === undefined
        ? {}
        : { integrity: { scrubBytesPerSecond: options.scrubBytesPerSecond } }),
      miss: { firstByteMsMax: CALL_MS_MAX }, // a busy machine's origin is slow while the box is warmed
    };
    const file = this.#write(`${applianceId}.json`, JSON.stringify(config, null, 2));
    const server = await this.#spawn('appliance', applianceId, file, options.isPinned);
    const statusUrl = `http://${this.address}:${adminPort}/status`;
    return Object.assign(server, { port, adminPort, statusOf: () => call('GET', statusUrl) });
  }

  /** Starts a box that ended once more, with the configuration and the disks that it had. */
  async again(box: BenchBox): Promise<BenchBox> {
    const file = path.join(this.directory, `${box.name}.json`);
    const server = await this.#spawn('appliance', box.name, file, false);
    const { port, adminPort, statusOf } = box;
    return Object.assign(server, { port, adminPort, statusOf });
  }

  /** Pulls every chunk of `file` through the box until it says that each is a hit. */
  async warm(box: BenchBox, file: BenchFile): Promise<void> {
    const chunks = Math.ceil(file.sizeBytes / CHUNK_BYTES);
    await this.#untilServing(box, file);
    for (let round = 0; round < WARM_ROUNDS_MAX; round++) {
      let hits = 0;
      for (let chunk = 0; chunk < chunks; chunk++) {
        const start = chunk * CHUNK_BYTES;
        const end = Math.min(start + CHUNK_BYTES, file.sizeBytes) - 1;
        // A busy machine's origin may be too slow once: the next round asks again.
        const answer = await this.get(box.port, file.target, start, end).catch(() => null);
        if (answer?.cacheStatus.includes('; hit') === true) hits++;
      }
      if (hits === chunks) return;
    }
    throw new Error(`${box.name} does not keep the file after ${WARM_ROUNDS_MAX} rounds`);
  }

  /** Makes the box take over every published file from the origin's disk, as from one that was delivered with it. */
  async adopt(box: BenchBox): Promise<void> {
    for (const file of this.#files) await this.#untilServing(box, file);
    const token = readFileSync(path.join(this.directory, box.name, 'state', 'admin.token'), 'utf8');
    const outcome = await callJsonOk({
      method: 'POST',
      url: `http://${this.address}:${box.adminPort}/adopt?path=${encodeURIComponent(this.originFiles)}`,
      bearer: token.trim(),
      deadlineMs: ADOPT_MS_MAX,
    });
    if (!outcome.ok) throw new Error(`${box.name} adopts nothing: ${outcome.failure.detail}`);
    const { filesWhole } = outcome.value as { readonly filesWhole: number };
    if (filesWhole < this.#files.length) {
      throw new Error(`${box.name} did not adopt every file: ${JSON.stringify(outcome.value)}`);
    }
  }

  /** A box that was just enrolled serves when it has the keys that tokens are checked with. */
  async #untilServing(box: BenchBox, file: BenchFile): Promise<void> {
    for (const startMs = performance.now(); ;) {
      try {
        await this.get(box.port, file.target, 0, 0);
        return;
      } catch (thrown) {
        if (performance.now() - startMs > SERVING_MS_MAX) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  /** One range, in memory. Throws on anything but 206 with the whole range. */
  async get(
    port: number,
    target: string,
    start: number,
    endInclusive: number,
  ): Promise<{ readonly bytes: Buffer; readonly cacheStatus: string }> {
    const answer = await fetch(`http://${this.address}:${port}${target}`, {
      headers: { range: `bytes=${start}-${endInclusive}` },
      signal: AbortSignal.timeout(CALL_MS_MAX),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (answer.status !== 206 || bytes.length !== endInclusive - start + 1) {
      const text = bytes.toString('latin1', 0, 300);
      throw new Error(`bytes=${start}-${endInclusive} on port ${port}: ${answer.status} ${text}`);
    }
    return { bytes, cacheStatus: answer.headers.get('cache-status') ?? '' };
  }

  async #daemon(name: string, config: unknown, instance = name): Promise<RunningServer> {
    const file = this.#write(`${instance}.json`, JSON.stringify(config, null, 2));
    return this.#spawn(name, instance, file, false);
  }

  async #spawn(
    name: string,
    instance: string,
    file: string,
    isPinned: boolean,
  ): Promise<RunningServer> {
    const argv = [process.execPath, ...NODE_FLAGS, CLI, name, '--config', file];
    const server = await startServer(
      instance,
      argv,
      machineLoopback(),
      (output) => output.includes('"event":"ready"'),
      isPinned,
    );
    this.#servers.push(server);
    return server;
  }

  #listen(offset: number): { readonly address: string; readonly port: number } {
    return { address: this.address, port: this.#portBase + offset };
  }

  #write(name: string, text: string): string {
    const file = path.join(this.directory, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  }

  #call(method: 'GET' | 'POST', where: string, body?: unknown): Promise<unknown> {
    const url = `http://${this.address}:${this.#portBase}${where}`;
    return call(method, url, body, this.#tokens['operator']);
  }
}

function viewerToken(key: SigningKey): Promise<string> {
  const scope = {
    titleId: TITLE_ID,
    durationSeconds: TOKEN_SECONDS,
    home: 'bench',
    reason: 'home',
  } as const;
  return signViewerToken(key, scope, Math.floor(Date.now() / 1000));
}

async function call(
  method: 'GET' | 'POST',
  url: string,
  body?: unknown,
  bearer?: string,
): Promise<unknown> {
  const outcome = await callJsonOk({ method, url, body, bearer, deadlineMs: CALL_MS_MAX });
  if (!outcome.ok) throw new Error(outcome.failure.detail);
  return outcome.value;
}

function command(parts: readonly (readonly string[])[]): void {
  const argv = parts.flat();
  const ended = spawnSync(process.execPath, [...NODE_FLAGS, CLI, ...argv], { encoding: 'utf8' });
  if (ended.status !== 0) {
    throw new Error(`nightfill ${argv.join(' ')} failed:\n${ended.stdout}${ended.stderr}`);
  }
}
