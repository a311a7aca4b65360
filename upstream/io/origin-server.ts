/**
 * The origin: serves whole files, chunk lists and signed listings by range, to fill grants and viewer tokens only.
 *
 *   parse -> authorise -> belongs to the title? -> open -> range -> head -> send
 *
 * Errors:     403 refused (header Nightfill-Refused says why), 404 not held, 416 beyond the end; never 503: a player
 *             leaves a 404 at once and a 503 after a minute
 * Invariants: (1) no byte leaves for a caller who was not let in
 *             (2) a file is served only under a title that it belongs to
 */
import { open, type FileHandle } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { codeOf, messageOf, type Outcome } from '#base/outcome.ts';
import { SECOND_MS } from '#base/units.ts';
import { POSSESSION_HEADER, type KeyRing } from '#control-plane/contract.ts';
import type { OriginConfig } from '../config.ts';
import {
  etagOf,
  parseContentPath,
  PURPOSE_HEADER,
  type ContentLocation,
  type FileId,
} from '../contract.ts';
import { belongsTo, type TitleRecord } from '../listing.ts';
import { AccessDesk, wordsOf, type Access, type Denied } from '../origin/access.ts';
import { OriginCounters } from '../origin/counters.ts';
import { CatalogueClient } from './catalogue-client.ts';
import {
  answerFile,
  CORS_HEADERS,
  PREFLIGHT_HEADERS,
  say,
  singleHeader,
  type Sendable,
} from './content-answer.ts';
import { OriginStore } from './origin-store.ts';
import { TitleShelf } from './title-shelf.ts';

const HEADER_BYTES_MAX = 16 * 1024; // a viewer token is at most 2 KiB
const REQUEST_HEAD_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 65_000;
/** How often an unknown key id may make the key set be fetched again. */
const REFRESH_PERIOD_MS = 30_000;
const STOP_GRACE_MS = 2000;

/** Verified keys, refreshed by whoever owns them. */
export interface KeySource {
  current(): KeyRing | null;
  refresh(): Promise<Outcome<KeyRing>>;
}

export interface OriginDeps {
  readonly config: OriginConfig;
  readonly keys: KeySource;
  /** Absent: nothing is denied. */
  readonly denials?: { current(): Denied };
  readonly clock: Clock;
  readonly log: Logger;
}

export interface RunningOrigin {
  readonly content: AddressInfo;
  readonly admin: AddressInfo;
  readonly counters: OriginCounters;
  close(): Promise<void>;
}

/** Binds both listeners. Throws what the system says where one cannot be bound. */
export async function startOrigin(deps: OriginDeps): Promise<RunningOrigin> {
  const origin = new Origin(deps);
  const content = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: REQUEST_HEAD_TIMEOUT_MS,
      requestTimeout: REQUEST_HEAD_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (asked, answer) => void origin.answer(asked, answer),
  );
  content.maxConnections = deps.config.connectionsMax;
  content.timeout = deps.config.idleTimeoutMs;
  content.on('connection', (socket) => {
    origin.counters.connections++;
    socket.once('close', () => origin.counters.connections--);
  });
  const admin = createServer((asked, answer) => void origin.answerAdmin(asked, answer));
  const servers = [content, admin];
  try {
    await listen(content, deps.config.listen);
    await listen(admin, deps.config.admin);
  } catch (thrown) {
    await Promise.all(servers.map((server) => stop(server, deps.clock)));
    throw thrown;
  }
  return {
    content: content.address() as AddressInfo,
    admin: admin.address() as AddressInfo,
    counters: origin.counters,
    close: async () => {
      await Promise.all(servers.map((server) => stop(server, deps.clock)));
    },
  };
}

class Origin {
  readonly counters = new OriginCounters();
  readonly #deps: OriginDeps;
  readonly #store: OriginStore;
  readonly #desk: AccessDesk;
  readonly #shelf: TitleShelf;
  readonly #metrics;
  readonly #startedAtMs: number;
  #keysAskedAtMs = -Infinity;

  constructor(deps: OriginDeps) {
    this.#deps = deps;
    this.#store = new OriginStore(deps.config.stateDir);
    this.#desk = new AccessDesk(deps.config.verdictsMax);
    const catalogue = new CatalogueClient(deps.config.controlPlaneUrl, null);
    this.#shelf = new TitleShelf({ ...deps, store: this.#store, catalogue });
    this.#metrics = this.counters.registry(() => deps.keys.current()?.version ?? 0);
    this.#startedAtMs = deps.clock.wallMs();
  }

  async answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    this.counters.requests++;
    try {
      await this.#answer(asked, answer);
    } catch (thrown) {
      if (!answer.headersSent && !answer.destroyed) {
        // A disk that fails here is a file not held here: the caller has other sources and tries them at once.
        this.#deps.log.error({ event: 'serve-failed', why: messageOf(thrown) }, 'request failed');
        say(answer, 404, 'the origin could not read this: its operator finds why in its log');
      } else {
        answer.destroy();
      }
    }
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    asked.resume();
    if (asked.method === 'OPTIONS') {
      answer.writeHead(204, PREFLIGHT_HEADERS).end();
      return;
    }
    if (asked.method !== 'GET' && asked.method !== 'HEAD') {
      say(answer, 405, `${asked.method} is not served here`, { Allow: 'GET, HEAD, OPTIONS' });
      return;
    }
    const location = parseContentPath(asked.url ?? '/');
    if (location === null) {
      say(answer, 404, 'nothing is served at this path; content is at /t/<titleId>/<fileId>');
      return;
    }
    const access = await this.#authorise(asked, location);
    if (access.kind === 'refused') {
      this.#refuse(answer, access.why, wordsOf(access.why, this.#deps.config.controlPlaneUrl));
      return;
    }
    const { titleId, fileId, resource } = location;
    const record = await this.#shelf.record(titleId);
    if (record === null) {
      say(answer, 404, `title ${titleId} was never published to this origin`);
    } else if (fileId === null) {
      await this.#answerListing(asked, answer, access, record);
    } else if (!belongsTo(record, fileId)) {
      const words = `file ${fileId} does not belong to title ${titleId}`;
      this.#refuse(answer, 'file-not-of-title', words);
    } else if (resource === 'chunks') {
      await this.#answerChunkList(asked, answer, access, fileId);
    } else {
      await this.#answerFile(asked, answer, access, record, fileId);
    }
  }

  async #authorise(asked: IncomingMessage, location: ContentLocation): Promise<Access> {
    const { keys, clock } = this.#deps;
    const shown = {
      authorization: asked.headers.authorization,
      purpose: singleHeader(asked, PURPOSE_HEADER),
      possession: singleHeader(asked, POSSESSION_HEADER),
      host: `http://${asked.headers.host ?? 'localhost'}`,
      location,
    };
    const nowSeconds = (): number => clock.wallMs() / SECOND_MS;
    const denied = this.#deps.denials?.current();
    const access = await this.#desk.decide(shown, keys.current(), nowSeconds(), denied);
    if (access.kind !== 'refused') return access;
    const mayBeNewKey = access.why === 'token-key-unknown' || access.why === 'grant-invalid';
    if (!mayBeNewKey && access.why !== 'keys-missing') return access;
    if (clock.monotonicMs() - this.#keysAskedAtMs < REFRESH_PERIOD_MS) return access;
    this.#keysAskedAtMs = clock.monotonicMs();
    const refreshed = await keys.refresh();
    return refreshed.ok ? this.#desk.decide(shown, refreshed.value, nowSeconds(), denied) : access;
  }

  async #answerFile(
    asked: IncomingMessage,
    answer: ServerResponse,
    access: Access,
    record: TitleRecord,
    fileId: FileId,
  ): Promise<void> {
    const handle = await openOrNull(this.#store.filePath(fileId));
    if (handle === null) {
      say(answer, 404, `file ${fileId} is not held by this origin: publish the title again`);
      return;
    }
    try {
      const { size } = await handle.stat();
      const entry = record.listing.files.find((candidate) => candidate.fileId === fileId);
      if (entry !== undefined && entry.sizeBytes !== size) {
        this.#deps.log.error(
          { event: 'file-damaged', fileId, sizeBytes: size, expectedBytes: entry.sizeBytes },
          'a stored file has another size than its title says; it is not served',
        );
        say(answer, 404, `file ${fileId} is damaged here: publish the title again`);
        return;
      }
      const contentType = typeOf(entry?.kind ?? 'opaque');
      const what = { handle, sizeBytes: size, etag: etagOf(fileId), contentType };
      await this.#send(asked, answer, access, what);
    } finally {
      await handle.close();
    }
  }

  async #answerChunkList(
    asked: IncomingMessage,
    answer: ServerResponse,
    access: Access,
    fileId: FileId,
  ): Promise<void> {
    const handle = await openOrNull(this.#store.chunkListPath(fileId));
    if (handle === null) {
      say(answer, 404, `file ${fileId} is not held by this origin: publish the title again`);
      return;
    }
    try {
      const { size } = await handle.stat();
      await this.#send(asked, answer, access, {
        handle,
        sizeBytes: size,
        etag: `"${fileId}.chunks"`,
        contentType: 'application/octet-stream',
      });
    } finally {
      await handle.close();
    }
  }

  async #send(
    asked: IncomingMessage,
    answer: ServerResponse,
    access: Access,
    what: Sendable,
  ): Promise<void> {
    const broken = await answerFile(asked, answer, what, (bytes) =>
      this.counters.sent(access, bytes),
    );
    if (broken !== null) {
      this.#deps.log.warn({ event: 'send-broken', etag: what.etag, why: broken }, 'answer cut');
    }
  }

  async #answerListing(
    asked: IncomingMessage,
    answer: ServerResponse,
    access: Access,
    record: TitleRecord,
  ): Promise<void> {
    const { titleId } = record.listing;
    const signed = await this.#shelf.signedListing(record);
    if (signed === null) {
      say(answer, 404, `the control plane has not signed a listing of ${titleId} yet: publish it`);
      return;
    }
    const body = Buffer.from(signed);
    answer.writeHead(200, {
      ...CORS_HEADERS,
      'Content-Type': 'application/jose',
      'Content-Length': body.length,
      'Cache-Control': 'no-cache',
    });
    if (asked.method === 'GET') {
      this.counters.sent(access, body.length);
      answer.write(body);
    }
    answer.end();
  }

  /** `GET /status`, `GET /metrics`. */
  async answerAdmin(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    asked.resume();
    const path = (asked.url ?? '/').split('?')[0];
    if (asked.method !== 'GET' || (path !== '/status' && path !== '/metrics')) {
      answer.writeHead(404, { 'Content-Type': 'text/plain' });
      answer.end('GET /status and GET /metrics are served here\n');
      return;
    }
    const body =
      path === '/metrics' ? await this.#metrics.metrics() : JSON.stringify(this.#status());
    const type = path === '/metrics' ? this.#metrics.contentType : 'application/json';
    answer.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body);
  }

  #status(): unknown {
    const { clock, keys } = this.#deps;
    return {
      ...this.counters.status(),
      connections: this.counters.connections,
      keySetVersion: keys.current()?.version ?? null,
      startedAtMs: this.#startedAtMs,
      atMs: clock.wallMs(),
    };
  }

  #refuse(answer: ServerResponse, why: string, words: string): void {
    this.counters.refused(why);
    say(answer, 403, `${why}: ${words}`, { 'Nightfill-Refused': why });
  }
}

function typeOf(kind: TitleRecord['listing']['files'][number]['kind']): string {
  switch (kind) {
    case 'video':
      return 'video/mp4';
    case 'audio':
      return 'audio/mp4';
    case 'text':
      return 'application/mp4';
    case 'opaque':
      return 'application/octet-stream';
  }
}

async function openOrNull(file: string): Promise<FileHandle | null> {
  try {
    return await open(file, 'r');
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return null;
    throw thrown;
  }
}

async function listen(
  server: Server,
  where: { readonly address: string; readonly port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(where.port, where.address, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** No new connections; running answers get a moment, then they are cut. */
async function stop(server: Server, clock: Clock): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => {
    const cut = clock.after(STOP_GRACE_MS, () => server.closeAllConnections());
    server.close(() => {
      cut.cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}
