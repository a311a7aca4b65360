/**
 * The box's admin listener, loopback only: status, metrics, and what an operator may tell it.
 *
 * Whoever may read the token's file may act; everybody on the machine may look. The token is made at the first start.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ApplianceStatus } from '#appliance/contract.ts';
import { codeOf, failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import { listenFailure, type ListenAddress } from '../serve/sender.ts';

const REQUEST_MS_MAX = 10_000;
const CONNECTIONS_MAX = 64;

const TOKEN_BYTES = 24;

/** The bearer token of an admin listener, made where there is none. The file is its owner's alone (mode 0600). */
export function openAdminToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown;
  }
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  writeFileSync(file, `${token}\n`, { mode: 0o600, flag: 'wx' });
  return token;
}

export interface AdminActions {
  status(): ApplianceStatus;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  /** What an operator asks for by `POST /<name>?<arguments>`; null: no such action. A promise may take long. */
  act(name: string, query: URLSearchParams): unknown;
}

type Answer = { readonly status: number; readonly contentType: string; readonly text: string };

export class AdminListener {
  readonly #server: Server;
  readonly #actions: AdminActions;
  readonly #tokenDigest: Buffer;

  constructor(actions: AdminActions, token: string) {
    this.#actions = actions;
    this.#tokenDigest = digestOf(token);
    this.#server = createServer({
      requestTimeout: REQUEST_MS_MAX,
      headersTimeout: REQUEST_MS_MAX,
    });
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('request', (request, response) => void this.#received(request, response));
  }

  listen(at: ListenAddress): Promise<Outcome<ListenAddress>> {
    return new Promise((resolve) => {
      this.#server.once('error', (error) =>
        resolve(failed(listenFailure(at, codeOf(error), error))),
      );
      this.#server.listen(at.port, at.address, () => {
        const bound = this.#server.address() as AddressInfo;
        resolve(success({ address: bound.address, port: bound.port }));
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#server.listening) return resolve();
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #mayAct(authorization: string | undefined): boolean {
    const given = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? '';
    return timingSafeEqual(digestOf(given), this.#tokenDigest);
  }

  async #received(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#answer(request);
    } catch (thrown) {
      answer = json(500, { message: messageOf(thrown) });
    }
    response.writeHead(answer.status, {
      'content-type': answer.contentType,
      'cache-control': 'no-store',
    });
    response.end(answer.text);
    request.resume();
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    // A page in the operator's browser may not drain the box: browsers send Origin, tools do not.
    if (request.headers.origin !== undefined) {
      return json(403, { message: 'the admin listener is not for browsers' });
    }
    const url = new URL(request.url ?? '/', 'http://admin');
    if (request.method === 'GET' && url.pathname === '/status') {
      return json(200, this.#actions.status());
    }
    if (request.method === 'GET' && url.pathname === '/metrics') {
      const { contentType, text } = await this.#actions.metrics();
      return { status: 200, contentType, text };
    }
    if (request.method === 'POST' && !this.#mayAct(request.headers.authorization)) {
      return json(401, {
        message:
          'actions need "Authorization: Bearer TOKEN", the text of admin.token in the state directory',
      });
    }
    const done =
      request.method === 'POST'
        ? await this.#actions.act(url.pathname.slice(1), url.searchParams)
        : null;
    if (done !== null) return json(200, done);
    return json(404, {
      message: 'GET /status, GET /metrics, or POST one of the actions in the README',
    });
  }
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function json(status: number, body: unknown): Answer {
  return { status, contentType: 'application/json', text: `${JSON.stringify(body)}\n` };
}
