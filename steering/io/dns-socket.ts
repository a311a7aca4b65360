/**
 * The UDP socket of a DNS thread: datagrams by the batch where Linux lets us (recvmmsg, sendmmsg), one by one through node:dgram elsewhere.
 *
 * Shape:      openDnsSocket(options) -> socket
 * Invariants: (1) at most BATCHES_PER_TURN batches a turn: timers and TCP get their turn under any load
 *             (2) an answer that the kernel does not take at once is lost, as on any link: resolvers ask again
 */
import { createSocket } from 'node:dgram';
import { parseAddress } from '#base/address.ts';
import { SO_RCVBUF, SO_REUSEPORT, SO_SNDBUF, SOL_SOCKET } from '#base/io/linux-abi.ts';
import { loadLinux, type Linux } from '#base/io/linux.ts';

const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024; // bursts: thousands of answers of up to 1,232 bytes
const BATCH = 64;
const BATCHES_PER_TURN = 16;
const DATAGRAM_BYTES_MAX = 4096; // no question is longer; what is, is dropped
const EADDRINUSE = 98;
const EADDRNOTAVAIL = 99;
const EACCES = 13;

/** Reads a question where it lies, writes its answer into the room: how many bytes, 0 for none. `sender`: 4 or 16 bytes. */
export type Respond = (
  query: Buffer,
  queryAt: number,
  queryBytes: number,
  sender: Uint8Array,
  senderAt: number,
  senderBytes: number,
  room: Buffer,
  roomAt: number,
) => number;

export interface DnsSocketOptions {
  readonly address: string;
  readonly port: number;
  readonly sharesPort: boolean;
  readonly respond: Respond;
  /** Before the first question of each batch. */
  readonly onBatch: () => void;
  readonly onFault: (detail: string) => void;
}

export interface DnsSocket {
  readonly kind: 'batches' | 'portable';
  readonly port: number;
  close(): Promise<void>;
}

/** Rejects where the address is taken or not ours. */
export async function openDnsSocket(
  options: DnsSocketOptions,
  linux: Linux | null = loadLinux(),
): Promise<DnsSocket> {
  return linux === null ? openPortable(options) : openBatches(options, linux);
}

function openBatches(options: DnsSocketOptions, linux: Linux): DnsSocket {
  const { address, port, respond, onBatch, sharesPort } = options;
  const fd = linux.udpSocket(address);
  if (fd < 0) throw listenError('socket', -fd, options);
  const isBound = (): number => {
    if (sharesPort) linux.setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    linux.setOption(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER_BYTES);
    linux.setOption(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER_BYTES);
    return linux.bind(fd, { address, port });
  };
  const bound = isBound();
  if (bound < 0) {
    linux.close(fd);
    throw listenError('bind', -bound, options);
  }
  const batch = linux.messageBatch(BATCH, DATAGRAM_BYTES_MAX);
  const { memory } = batch;
  const watch = linux.watchReadable(fd, () => {
    for (let turn = 0; turn < BATCHES_PER_TURN; turn++) {
      const count = linux.receiveBatch(fd, batch);
      if (count <= 0) return;
      onBatch();
      for (let at = 0; at < count; at++) {
        const bytes = batch.receivedBytes(at);
        if (bytes < 0) continue;
        const length = respond(
          memory,
          batch.receivedAt(at),
          bytes,
          memory,
          batch.senderAt(at),
          batch.senderBytes(at),
          memory,
          batch.roomAt(at),
        );
        if (length > 0) batch.answer(at, length);
      }
      if (batch.answers > 0) linux.sendBatch(fd, batch);
      if (count < BATCH) return;
    }
  });
  return {
    kind: 'batches',
    port: linux.localAddress(fd)?.port ?? port,
    close: async () => {
      await watch.close();
      linux.close(fd);
    },
  };
}

function listenError(call: string, errno: number, { address, port }: DnsSocketOptions): Error {
  const code =
    errno === EADDRINUSE
      ? 'EADDRINUSE'
      : errno === EADDRNOTAVAIL
        ? 'EADDRNOTAVAIL'
        : errno === EACCES
          ? 'EACCES'
          : `errno ${errno}`;
  return Object.assign(new Error(`${call} ${code} ${address}:${port}`), { code });
}

async function openPortable(options: DnsSocketOptions): Promise<DnsSocket> {
  const { address, onBatch, onFault, port, respond, sharesPort } = options;
  const room = Buffer.alloc(DATAGRAM_BYTES_MAX);
  const socket = createSocket({
    type: address.includes(':') ? 'udp6' : 'udp4',
    recvBufferSize: SOCKET_BUFFER_BYTES,
    sendBufferSize: SOCKET_BUFFER_BYTES,
    ...(sharesPort ? { reusePort: true } : {}),
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: !sharesPort }, () => {
      socket.removeListener('error', reject);
      resolve();
    });
  });
  socket.on('error', (error) => onFault(`UDP socket: ${error.message}`));
  socket.on('message', (message, from) => {
    const zoneAt = from.address.indexOf('%'); // a link-local address names its interface
    const resolver = parseAddress(zoneAt === -1 ? from.address : from.address.slice(0, zoneAt));
    if (resolver === null || message.length > DATAGRAM_BYTES_MAX) return;
    onBatch();
    const length = respond(message, 0, message.length, resolver, 0, resolver.length, room, 0);
    // send() may read the bytes later, when the room holds another answer: they get their own copy.
    if (length > 0) socket.send(Buffer.from(room.subarray(0, length)), from.port, from.address);
  });
  return {
    kind: 'portable',
    port: socket.address().port,
    close: () =>
      new Promise((resolve) => {
        socket.close(() => resolve());
      }),
  };
}
