/**
 * The box's admin listener, loopback only: status, metrics, drain.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ApplianceStatus } from '#appliance/contract.ts';
import { codeOf, failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import { listenFailure, type ListenAddress } from '../serve/sender.ts';

const REQUEST_MS_MAX = 10_000;
const CONNECTIONS_MAX = 64;

export interface AdminActions {
  status(): ApplianceStatus;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  drain(): unknown;
  undrain(): unknown;
}

type Answer = { readonly status: number; readonly contentType: string; readonly text: string };

export class AdminListener {
  readonly #server: Server;
  readonly #actions: AdminActions;

  constructor(actions: AdminActions) {
    this.#actions = actions;
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
    switch (`${request.method} ${(request.url ?? '').split('?')[0]}`) {
      case 'GET /status':
        return json(200, this.#actions.status());
      case 'GET /metrics': {
        const { contentType, text } = await this.#actions.metrics();
        return { status: 200, contentType, text };
      }
      case 'POST /drain':
        return json(200, this.#actions.drain());
      case 'POST /undrain':
        return json(200, this.#actions.undrain());
      default:
        return json(404, { message: 'GET /status, GET /metrics, POST /drain, POST /undrain' });
    }
  }
}

function json(status: number, body: unknown): Answer {
  return { status, contentType: 'application/json', text: `${JSON.stringify(body)}\n` };
}
