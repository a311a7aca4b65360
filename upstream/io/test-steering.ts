/**
 * For tests only: answers play requests with signed URLs of given boxes, small but honest, on a real loopback listener.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  checkPlayRequest,
  signViewerToken,
  type PlayAnswer,
  type PlayRequest,
} from '#steering/contract.ts';
import { signedContentUrl } from '../contract.ts';
import type { TestKeys } from './test-control-plane.ts';

export interface TestBox {
  readonly pathwayId: string;
  readonly baseUrl: string;
}

export class TestSteering {
  readonly asked: PlayRequest[] = [];
  /** Best first; the last one is the origin. */
  boxes: readonly TestBox[] = [];
  /** Answered instead, where a test wants a refusal. */
  refusal: { readonly status: number; readonly body: unknown } | null = null;
  readonly token = 'playback-token-of-tests';
  readonly #keys: TestKeys;
  #server: Server | null = null;

  constructor(keys: TestKeys) {
    this.#keys = keys;
  }

  async start(): Promise<string> {
    const server = createServer((asked, answer) => {
      void (async () => {
        const parts: Buffer[] = [];
        for await (const part of asked as AsyncIterable<Buffer>) parts.push(part);
        const isCaller = asked.headers.authorization === `Bearer ${this.token}`;
        const checked = checkPlayRequest(JSON.parse(Buffer.concat(parts).toString('utf8')));
        const body = !isCaller
          ? { status: 401, body: { message: 'who are you' } }
          : !checked.ok
            ? { status: 400, body: { message: 'invalid', problems: checked.failure } }
            : (this.refusal ?? { status: 200, body: await this.#answer(checked.value) });
        answer.writeHead(body.status, { 'Content-Type': 'application/json' });
        answer.end(JSON.stringify(body.body));
      })();
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #answer(ask: PlayRequest): Promise<PlayAnswer> {
    this.asked.push(ask);
    const { titleId } = ask;
    const scope = { titleId, durationSeconds: 60, home: 'paris', reason: 'home' } as const;
    const token = await signViewerToken(this.#keys.token, scope, Math.floor(Date.now() / 1000));
    return {
      titleId,
      ttlSeconds: 30,
      home: 'paris',
      epochs: { snapshot: 1, prefixes: 1, holdings: 1, load: 1 },
      files: (ask.fileIds ?? []).map((fileId) => ({
        fileId,
        reason: 'home',
        urls: this.boxes.map(({ pathwayId, baseUrl }) => ({
          url: signedContentUrl(baseUrl, token, titleId, fileId),
          pathwayId,
          kind: pathwayId === 'origin' ? 'origin' : 'appliance',
        })),
      })),
      steering: {
        hls: `http://steering.test/v1/hls/${ask.session}`,
        dash: `http://steering.test/v1/dash/${ask.session}`,
      },
    };
  }
}
