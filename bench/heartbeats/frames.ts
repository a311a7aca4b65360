/**
 * A WebSocket client as small as a load generator needs it: text frames out and in, over one upgraded connection.
 *
 * Frames are sent with a mask of zeros, which is a mask like any other to the server and spares this side a pass over the bytes:
 * the machine's cores are for the process that is measured.
 *
 * Source: RFC 6455 5.2
 */
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import type { Socket } from 'node:net';

const OPCODE = { text: 1, close: 8, ping: 9, pong: 10 } as const;
const FINAL = 0x80;
const MASKED = 0x80;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024; // what a control plane pushes is far below
const NOTHING = Buffer.alloc(0);

export class FrameSocket {
  readonly #socket: Socket;
  readonly #onText: (payload: Buffer) => void;
  #rest: Buffer = NOTHING;
  isOpen = true;

  private constructor(socket: Socket, onText: (payload: Buffer) => void) {
    this.#socket = socket;
    this.#onText = onText;
    socket.setNoDelay(true);
    socket.on('data', (data: Buffer) => this.#take(data));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.isOpen = false;
    });
  }

  /** Rejects where the server does not upgrade, with what it said instead. */
  static open(
    url: string,
    bearer: string,
    onText: (payload: Buffer) => void,
  ): Promise<FrameSocket> {
    return new Promise((resolve, reject) => {
      const asking = request(url, {
        agent: false,
        headers: {
          authorization: `Bearer ${bearer}`,
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': randomBytes(16).toString('base64'),
        },
      });
      asking.once('upgrade', (_answer, socket: Socket, head) => {
        const made = new FrameSocket(socket, onText);
        if (head.length > 0) made.#take(head);
        resolve(made);
      });
      asking.once('response', (answer) => {
        answer.resume();
        reject(new Error(`${url}: not upgraded, ${answer.statusCode}`));
      });
      asking.once('error', reject);
      asking.end();
    });
  }

  send(text: string): void {
    this.#write(OPCODE.text, Buffer.from(text, 'utf8'));
  }

  #write(opcode: number, payload: Buffer): void {
    const isShort = payload.length < LENGTH_16;
    const head = Buffer.alloc(isShort ? 6 : 8); // the mask's four bytes stay zero
    head[0] = FINAL | opcode;
    head[1] = MASKED | (isShort ? payload.length : LENGTH_16);
    if (!isShort) head.writeUInt16BE(payload.length, 2); // heartbeats are far below 64 KiB
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #take(data: Buffer): void {
    let bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    for (;;) {
      const frame = firstFrame(bytes);
      if (frame === null) break;
      bytes = bytes.subarray(frame.end);
      if (frame.opcode === OPCODE.text) this.#onText(frame.payload);
      else if (frame.opcode === OPCODE.ping) this.#write(OPCODE.pong, frame.payload);
      else if (frame.opcode === OPCODE.close) {
        this.isOpen = false;
        this.#socket.destroy();
        return;
      }
    }
    this.#rest = bytes;
  }
}

function firstFrame(bytes: Buffer): { opcode: number; payload: Buffer; end: number } | null {
  if (bytes.length < 2) return null;
  const opcode = bytes[0] & 0x0f;
  let length = bytes[1] & 0x7f;
  let start = 2;
  if (length === LENGTH_16) {
    if (bytes.length < 4) return null;
    length = bytes.readUInt16BE(2);
    start = 4;
  } else if (length === LENGTH_64) {
    if (bytes.length < 10) return null;
    length = Number(bytes.readBigUInt64BE(2));
    start = 10;
  }
  if (length > PAYLOAD_BYTES_MAX) throw new Error(`a frame of ${length} bytes`);
  const end = start + length;
  return bytes.length < end ? null : { opcode, payload: bytes.subarray(start, end), end };
}
