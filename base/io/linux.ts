/**
 * The Linux calls that Node does not have: sockets without a stream around them, sendfile, epoll behind uv_poll, page cache residency.
 *
 * Every node:ffi signature of the product is in this file; nothing else touches node:ffi. A wrong signature or pointer ends the process
 * without a word, so callers pass numbers and `NativeMemory`, never pointers, and each argument is checked here.
 *
 * Shape:      loadLinux() -> Linux, or null where node:ffi, Linux or the permission for it is missing (`whyNoLinux` says which)
 * Errors:     calls return what the kernel returned, or the negative errno (-EAGAIN, ...): no exception, no allocation.
 *             A wrong argument throws TypeError or RangeError: that is a bug of the caller.
 * Invariants: (1) memory that the kernel is given lives as long as the process: a raw pointer does not keep its buffer alive
 *             (2) every length stays inside its NativeMemory
 *             (3) errno is read right after the call, on the same thread
 *             (4) nothing is thrown out of a callback that C called
 * Source:     signatures of calls with up to three arguments are cheap in node:ffi, longer ones go through a generic wrapper
 *             (about 200 against 900 ns): hence recvmsg and sendmsg, not recv and send
 */
import { formatAddress, parseAddress } from '../address.ts';
import {
  checkInteger,
  EpollEvents,
  keep,
  NativeMemory,
  SOL_SOCKET,
  SO_LINGER,
  MSG_NOSIGNAL,
  MSG_DONTWAIT,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOCK_NONBLOCK,
  SOCK_CLOEXEC,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  AF_INET,
  AF_INET6,
  EINVAL,
  HUGE_PAGE_BYTES,
  MADV_COLLAPSE,
  MADV_HUGEPAGE,
  POSIX_FADV_WILLNEED,
  SYS_CACHESTAT,
  UV_POLL,
  UV_READABLE,
  EPOLL_EVENT_WORDS,
  EPOLL_DATA_WORD,
  PAGE_BYTES,
  LENGTH_MAX,
  SOCKADDR_BYTES,
} from './linux-abi.ts';

import { MessageBatch } from './message-batch.ts';

type Ffi = typeof import('node:ffi');

function define<const R extends string, const A extends readonly string[]>(
  result: R,
  ...args: A
): { readonly return: R; readonly arguments: A } {
  return { return: result, arguments: args };
}

function loadLibc(ffi: Ffi) {
  return ffi.dlopen('libc.so.6', {
    socket: define('i32', 'i32', 'i32', 'i32'),
    setsockopt: define('i32', 'i32', 'i32', 'i32', 'pointer', 'u32'),
    getsockopt: define('i32', 'i32', 'i32', 'i32', 'pointer', 'pointer'),
    bind: define('i32', 'i32', 'pointer', 'u32'),
    connect: define('i32', 'i32', 'pointer', 'u32'),
    listen: define('i32', 'i32', 'i32'),
    getsockname: define('i32', 'i32', 'pointer', 'pointer'),
    accept4: define('i32', 'i32', 'pointer', 'pointer', 'i32'),
    shutdown: define('i32', 'i32', 'i32'),
    close: define('i32', 'i32'),
    // ssize_t results are read as i32: LENGTH_MAX keeps them inside
    recvmsg: define('i32', 'i32', 'pointer', 'i32'),
    sendmsg: define('i32', 'i32', 'pointer', 'i32'),
    recvmmsg: define('i32', 'i32', 'pointer', 'u32', 'i32', 'pointer'),
    sendmmsg: define('i32', 'i32', 'pointer', 'u32', 'i32'),
    sendfile: define('i32', 'i32', 'i32', 'pointer', 'u64'),
    epoll_create1: define('i32', 'i32'),
    epoll_ctl: define('i32', 'i32', 'i32', 'i32', 'pointer'),
    epoll_wait: define('i32', 'i32', 'pointer', 'i32', 'i32'),
    madvise: define('i32', 'pointer', 'u64', 'i32'),
    posix_fadvise: define('i32', 'i32', 'i64', 'i64', 'i32'),
    syscall: define('i32', 'i64', 'i32', 'pointer', 'pointer', 'u32'),
    __errno_location: define('pointer'),
  });
}

function loadUv(ffi: Ffi) {
  return ffi.dlopen(null, {
    uv_handle_size: define('u64', 'i32'),
    uv_poll_init: define('i32', 'pointer', 'pointer', 'i32'),
    uv_poll_start: define('i32', 'pointer', 'i32', 'pointer'),
    uv_poll_stop: define('i32', 'pointer'),
    uv_close: define('void', 'pointer', 'pointer'),
  });
}

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

export interface Watch {
  /** Stops the callbacks at once; resolves when libuv has let go of the descriptor: close that after it. */
  close(): Promise<void>;
}

export type Linux = ReturnType<typeof createLinux>;

// ---------------------------------------------------------------- loading

let loaded: { readonly linux: Linux | null; readonly why: string } | null = null;

/** One per thread. Null is no error: the portable way is taken. */
export function loadLinux(): Linux | null {
  return load().linux;
}

/** Why loadLinux() answers null; '' where it does not. */
export function whyNoLinux(): string {
  return load().why;
}

function load(): { readonly linux: Linux | null; readonly why: string } {
  loaded ??= tryLoad();
  return loaded;
}

function tryLoad(): { readonly linux: Linux | null; readonly why: string } {
  if (process.platform !== 'linux') return { linux: null, why: `this is ${process.platform}` };
  if (process.arch !== 'x64' && process.arch !== 'arm64') {
    return { linux: null, why: `the layouts of ${process.arch} are not known here` };
  }
  const ffi = process.getBuiltinModule('node:ffi') as Ffi | undefined;
  if (ffi === undefined) return { linux: null, why: `Node ${process.version} has no node:ffi` };
  try {
    return { linux: createLinux(ffi), why: '' };
  } catch (thrown) {
    // Another libc (musl), or the permission model without --allow-ffi.
    return { linux: null, why: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

// ---------------------------------------------------------------- the calls

function createLinux(ffi: Ffi) {
  const libc = loadLibc(ffi);
  const uv = loadUv(ffi);
  keep(libc);
  keep(uv);
  const c = libc.functions;
  const errnoWords = new Int32Array(
    ffi.toArrayBuffer(c.__errno_location(), 4, false), // a view: one errno per thread
  );
  const scratch = new NativeMemory(ffi.getRawPointer, PAGE_BYTES);
  const words = new Uint32Array(scratch.bytes.buffer, scratch.bytes.byteOffset, 32);
  const offsetPointer = scratch.pointer + 8n; // words 2, 3
  const eventPointer = scratch.pointer + 16n; // words 4 to 7
  const rangePointer = scratch.pointer + 32n; // words 8 to 11
  const addressPointer = scratch.pointer + 1024n;
  const addressLengthPointer = scratch.pointer + 2048n;
  const cachestatPointer = scratch.pointer + 3072n;
  let countNumber = 0;
  let countBig = 0n;

  const settled = (result: number): number => (result < 0 ? -errnoWords[0] : result);

  function writeAddress(at: SocketAddress): number {
    const bytes = parseAddress(at.address);
    if (bytes === null) throw new TypeError(`${at.address} is no IP address`);
    checkInteger('port', at.port, 0, 65535);
    const target = scratch.bytes.subarray(1024, 1024 + SOCKADDR_BYTES).fill(0);
    target.writeUInt16LE(bytes.length === 4 ? AF_INET : AF_INET6, 0);
    target.writeUInt16BE(at.port, 2);
    target.set(bytes, bytes.length === 4 ? 4 : 8);
    return bytes.length === 4 ? 16 : 28;
  }

  function readAddress(): SocketAddress {
    const from = scratch.bytes.subarray(1024, 1024 + SOCKADDR_BYTES);
    const port = from.readUInt16BE(2);
    if (from.readUInt16LE(0) === AF_INET) {
      return { address: `${from[4]}.${from[5]}.${from[6]}.${from[7]}`, port };
    }
    const bytes = from.subarray(8, 24);
    const isMapped = bytes.readUInt32BE(8) === 0xffff && bytes.subarray(0, 8).every((b) => b === 0);
    const address = isMapped
      ? `::ffff:${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}` // as node:net prints it
      : formatAddress(bytes);
    return { address, port };
  }

  return {
    memory: (length: number): NativeMemory => new NativeMemory(ffi.getRawPointer, length),

    epollEvents: (capacity: number): EpollEvents => {
      checkInteger('capacity', capacity, 1, 65_536);
      const memory = new NativeMemory(ffi.getRawPointer, capacity * EPOLL_EVENT_WORDS * 4);
      return new EpollEvents(memory, capacity);
    },

    /** A non-blocking TCP socket for addresses of the same family as `address`. */
    tcpSocket: (address: string): number => {
      const bytes = parseAddress(address);
      if (bytes === null) throw new TypeError(`${address} is no IP address`);
      const family = bytes.length === 4 ? AF_INET : AF_INET6;
      return settled(c.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    },

    /** A non-blocking UDP socket for addresses of the same family as `address`. */
    udpSocket: (address: string): number => {
      const bytes = parseAddress(address);
      if (bytes === null) throw new TypeError(`${address} is no IP address`);
      const family = bytes.length === 4 ? AF_INET : AF_INET6;
      return settled(c.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    },

    messageBatch: (capacity: number, bytesMax: number): MessageBatch =>
      new MessageBatch((length) => new NativeMemory(ffi.getRawPointer, length), capacity, bytesMax),

    /** Datagrams that wait, up to the batch's capacity: how many, or the negative errno. */
    receiveBatch: (fd: number, batch: MessageBatch): number => {
      batch.prepareReceive();
      return settled(c.recvmmsg(fd, batch.receivePointer, batch.capacity, MSG_DONTWAIT, 0n));
    },

    /** Sends the batch's answers: how many the kernel took, or the negative errno. */
    sendBatch: (fd: number, batch: MessageBatch): number =>
      settled(c.sendmmsg(fd, batch.sendPointer, batch.answers, MSG_DONTWAIT | MSG_NOSIGNAL)),

    bind: (fd: number, at: SocketAddress): number => {
      const length = writeAddress(at);
      return settled(c.bind(fd, addressPointer, length));
    },

    connect: (fd: number, to: SocketAddress): number => {
      const length = writeAddress(to);
      return settled(c.connect(fd, addressPointer, length));
    },

    listen: (fd: number, backlog: number): number => settled(c.listen(fd, backlog)),

    localAddress: (fd: number): SocketAddress | null => {
      scratch.bytes.writeUInt32LE(SOCKADDR_BYTES, 2048);
      return c.getsockname(fd, addressPointer, addressLengthPointer) < 0 ? null : readAddress();
    },

    /** The next connection, non-blocking; its peer is what `peerAddress` returns until the next call of this module. */
    accept: (fd: number): number => {
      scratch.bytes.writeUInt32LE(SOCKADDR_BYTES, 2048);
      return settled(
        c.accept4(fd, addressPointer, addressLengthPointer, SOCK_NONBLOCK | SOCK_CLOEXEC),
      );
    },

    peerAddress: (): SocketAddress => readAddress(),

    /** An option whose value is an int; SO_LINGER too: `value` seconds, 0 means that close() resets. */
    setOption: (fd: number, level: number, option: number, value: number): number => {
      checkInteger('value', value, -0x8000_0000, 0x7fff_ffff);
      if (level === SOL_SOCKET && option === SO_LINGER) {
        words[0] = 1;
        words[1] = value;
        return settled(c.setsockopt(fd, level, option, scratch.pointer, 8));
      }
      words[0] = value;
      return settled(c.setsockopt(fd, level, option, scratch.pointer, 4));
    },

    /** A non-negative int option, or the negative errno. */
    getOption: (fd: number, level: number, option: number): number => {
      words[0] = 0;
      scratch.bytes.writeUInt32LE(4, 2048);
      const result = settled(
        c.getsockopt(fd, level, option, scratch.pointer, addressLengthPointer),
      );
      return result < 0 ? result : words[0];
    },

    /** A listening socket takes no connection any more, in whichever thread; its descriptor stays. */
    stopListening: (fd: number): number => settled(c.shutdown(fd, 0)),

    shutdownWrite: (fd: number): number => settled(c.shutdown(fd, 1)),

    close: (fd: number): number => settled(c.close(fd)),

    /** With MSG_TRUNC the kernel throws the bytes away and `memory` is not written. */
    receive: (
      fd: number,
      memory: NativeMemory,
      start: number,
      length: number,
      flags: number,
    ): number => {
      memory.describe(start, length);
      return settled(c.recvmsg(fd, memory.headerPointer, flags));
    },

    send: (
      fd: number,
      memory: NativeMemory,
      start: number,
      length: number,
      flags: number,
    ): number => {
      memory.describe(start, length);
      return settled(c.sendmsg(fd, memory.headerPointer, flags | MSG_NOSIGNAL));
    },

    /** 0 where the file ends at or before `offset`. */
    sendfile: (socket: number, file: number, offset: number, length: number): number => {
      checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER);
      checkInteger('length', length, 0, LENGTH_MAX);
      words[2] = offset % 0x1_0000_0000;
      words[3] = Math.floor(offset / 0x1_0000_0000);
      if (countNumber !== length) {
        countNumber = length;
        countBig = BigInt(length); // most answers of a player have one length: kept
      }
      return settled(c.sendfile(socket, file, offsetPointer, countBig));
    },

    epollCreate: (): number => settled(c.epoll_create1(EPOLL_CLOEXEC)),

    /** `slot` and `generation` come back with each event of `fd`. */
    epollAdd: (
      epoll: number,
      fd: number,
      mask: number,
      slot: number,
      generation: number,
    ): number => {
      words[4] = mask;
      words[4 + EPOLL_DATA_WORD] = slot;
      words[5 + EPOLL_DATA_WORD] = generation;
      return settled(c.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, eventPointer));
    },

    epollDelete: (epoll: number, fd: number): number =>
      settled(c.epoll_ctl(epoll, EPOLL_CTL_DEL, fd, eventPointer)),

    /** How many events there are, at most the capacity. `timeoutMs` 0 never waits; -1 waits for ever. */
    epollWait: (epoll: number, events: EpollEvents, timeoutMs: number): number =>
      settled(c.epoll_wait(epoll, events.memory.pointer, events.capacity, timeoutMs)),

    /** How many pages of [offset, offset + length) are in memory; -ENOSYS before Linux 6.5, -EPERM for others' files. */
    residentPages: (fd: number, offset: number, length: number): number => {
      checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER);
      checkInteger('length', length, 1, LENGTH_MAX);
      words[8] = offset % 0x1_0000_0000;
      words[9] = Math.floor(offset / 0x1_0000_0000);
      words[10] = length;
      words[11] = 0;
      const result = c.syscall(SYS_CACHESTAT, fd, rangePointer, cachestatPointer, 0);
      return result < 0 ? -errnoWords[0] : scratch.bytes.readUInt32LE(3072);
    },

    /** Begins to read [offset, offset + length) into the page cache and does not wait for it. 0, or the negative errno. */
    readAhead: (fd: number, offset: number, length: number): number => {
      checkInteger('offset', offset, 0, Number.MAX_SAFE_INTEGER);
      checkInteger('length', length, 1, LENGTH_MAX);
      // Unlike others this call answers the errno itself.
      return 0 - c.posix_fadvise(fd, BigInt(offset), BigInt(length), POSIX_FADV_WILLNEED);
    },

    /**
     * Makes huge pages of the whole ones in `memory`: a disk reads 1 MiB into it in a few segments instead of 256. 0, or the negative
     * errno where this kernel or this memory has none: only the advantage is lost.
     */
    preferHugePages: (memory: NativeMemory): number => {
      const start = memory.pointer + BigInt(memory.hugePagesAt);
      const pages = Math.floor((memory.bytes.length - memory.hugePagesAt) / HUGE_PAGE_BYTES);
      if (pages <= 0) return -EINVAL;
      const length = BigInt(pages * HUGE_PAGE_BYTES);
      const advised = settled(c.madvise(start, length, MADV_HUGEPAGE));
      return advised < 0 ? advised : settled(c.madvise(start, length, MADV_COLLAPSE));
    },

    /** Calls `onReadable` in this thread's event loop while `fd` is readable. Promises and ticks do not run behind it. */
    watchReadable: (fd: number, onReadable: () => void): Watch =>
      watchReadable(ffi, uv, fd, onReadable),
  };
}

type Uv = ReturnType<typeof loadUv>;

function watchReadable(ffi: Ffi, uv: Uv, fd: number, onReadable: () => void): Watch {
  const handle = new NativeMemory(ffi.getRawPointer, Number(uv.functions.uv_handle_size(UV_POLL)));
  const call = (run: () => void): void => {
    try {
      run();
    } catch (bug) {
      setImmediate(() => {
        throw bug; // out of C's sight: it ends the process as any bug does
      });
    }
  };
  const readable = uv.lib.registerCallback(
    { return: 'void', arguments: ['pointer', 'i32', 'i32'] },
    () => call(onReadable),
  );
  const started = uv.functions.uv_poll_init(ffi.getCurrentEventLoop(), handle.pointer, fd);
  if (started < 0) throw new Error(`uv_poll_init(${fd}) failed: errno ${-started}`);
  uv.functions.uv_poll_start(handle.pointer, UV_READABLE, readable);
  let closing: Promise<void> | null = null;
  return {
    close(): Promise<void> {
      closing ??= new Promise((resolve) => {
        const closed = uv.lib.registerCallback({ return: 'void', arguments: ['pointer'] }, () => {
          // A callback may not unregister itself while it runs.
          setImmediate(() => {
            uv.lib.unregisterCallback(readable);
            uv.lib.unregisterCallback(closed);
            resolve();
          });
        });
        uv.functions.uv_poll_stop(handle.pointer);
        uv.functions.uv_close(handle.pointer, closed);
      });
      return closing;
    },
  };
}
