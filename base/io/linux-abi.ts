/**
 * What the Linux ABI fixes: numbers of the C headers, the layout of an epoll event, and memory that C may look at.
 *
 * Source: errno.h, sys/socket.h, netinet/tcp.h, sys/epoll.h, uv.h; the same on x86-64 and arm64 except where it says so
 */
type GetRawPointer = (source: NodeJS.ArrayBufferView) => bigint;

export const EPERM = 1;
export const EINTR = 4;
export const EBADF = 9;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EMFILE = 24;
export const ENFILE = 23;
export const EPIPE = 32;
export const ENOSYS = 38;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const EINPROGRESS = 115;

export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_CORK = 3;
export const TCP_NOTSENT_LOWAT = 25;
export const SOL_IPV6 = 41;
export const IPV6_V6ONLY = 26;

export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_MORE = 0x8000;

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x8000_0000;

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const EPOLL_CLOEXEC = 0o2000000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SYS_CACHESTAT = 451n; // the same number on every architecture
export const POSIX_FADV_WILLNEED = 3;
export const MADV_HUGEPAGE = 14;
export const MADV_COLLAPSE = 25; // since Linux 6.1
export const UV_POLL = 8;
export const UV_READABLE = 1;

// struct epoll_event is packed on x86-64 only.
export const EPOLL_EVENT_WORDS = process.arch === 'x64' ? 3 : 4;
export const EPOLL_DATA_WORD = process.arch === 'x64' ? 1 : 2;

export const PAGE_BYTES = 4096;
export const HUGE_PAGE_BYTES = 2 * 1024 * 1024; // x86-64, and arm64 with pages of 4 KiB
export const HEADER_BYTES = 128; // msghdr 56, iovec 16 at 64
export const IOVEC_AT = 64;
export const MEMORY_BYTES_MAX = 64 * 1024 * 1024; // one NativeMemory
export const LENGTH_MAX = 1024 ** 3; // a length in one call: results fit an i32
export const SOCKADDR_BYTES = 128;

// ---------------------------------------------------------------- memory

const kept: unknown[] = [];

/** Keeps what C may look at reachable for as long as the process lives: a raw pointer does not. */
export function keep(used: unknown): void {
  kept.push(used);
}

/**
 * Memory that calls read from and write to; page-aligned (O_DIRECT needs that); never freed: allocate once, use again.
 */
export class NativeMemory {
  readonly bytes: Buffer;
  /** Of the payload, and of the msghdr in front of it that describes one part of the payload. */
  readonly pointer: bigint;
  readonly headerPointer: bigint;
  readonly #iovec: Uint32Array;
  readonly #low: number;
  readonly #high: number;

  constructor(getRawPointer: GetRawPointer, length: number) {
    checkInteger('length', length, 1, MEMORY_BYTES_MAX);
    const raw = Buffer.allocUnsafeSlow(length + HEADER_BYTES + 2 * PAGE_BYTES).fill(0);
    kept.push(raw);
    const base = getRawPointer(raw);
    const page = BigInt(PAGE_BYTES);
    this.pointer = ((base + BigInt(HEADER_BYTES) + page - 1n) / page) * page;
    const start = Number(this.pointer - base);
    this.bytes = raw.subarray(start, start + length);
    const headerStart = start - HEADER_BYTES;
    this.headerPointer = base + BigInt(headerStart);
    raw.writeBigUInt64LE(this.headerPointer + BigInt(IOVEC_AT), headerStart + 16); // msg_iov
    raw.writeBigUInt64LE(1n, headerStart + 24); // msg_iovlen
    this.#iovec = new Uint32Array(raw.buffer, raw.byteOffset + headerStart + IOVEC_AT, 4);
    this.#low = Number(this.pointer & 0xffff_ffffn);
    this.#high = Number(this.pointer >> 32n);
  }

  /** Where in the payload the first whole huge page begins. */
  get hugePagesAt(): number {
    const size = BigInt(HUGE_PAGE_BYTES);
    return Number((size - (this.pointer % size)) % size);
  }

  /** Makes the msghdr describe [start, start + length). */
  describe(start: number, length: number): void {
    if (
      !Number.isInteger(start) ||
      !Number.isInteger(length) ||
      start < 0 ||
      length < 0 ||
      start + length > this.bytes.length
    ) {
      throw new RangeError(`[${start}, +${length}) is outside of ${this.bytes.length} bytes`);
    }
    const low = this.#low + start;
    const iovec = this.#iovec;
    iovec[0] = low % 0x1_0000_0000;
    iovec[1] = low >= 0x1_0000_0000 ? this.#high + 1 : this.#high;
    iovec[2] = length;
    iovec[3] = 0;
  }
}

/** What epoll_wait found: entries 0 to count - 1, each with the two words that epollAdd was given. */
export class EpollEvents {
  readonly capacity: number;
  readonly memory: NativeMemory;
  readonly #words: Int32Array;

  constructor(memory: NativeMemory, capacity: number) {
    this.capacity = capacity;
    this.memory = memory;
    this.#words = new Int32Array(
      memory.bytes.buffer,
      memory.bytes.byteOffset,
      capacity * EPOLL_EVENT_WORDS,
    );
  }

  mask(at: number): number {
    return this.#words[at * EPOLL_EVENT_WORDS];
  }

  /** The first word of epollAdd: by custom the descriptor or a slot. */
  slot(at: number): number {
    return this.#words[at * EPOLL_EVENT_WORDS + EPOLL_DATA_WORD];
  }

  /** The second word: by custom a generation, so that an event of a closed descriptor is told from its successor's. */
  generation(at: number): number {
    return this.#words[at * EPOLL_EVENT_WORDS + EPOLL_DATA_WORD + 1];
  }
}

export function checkInteger(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} must be an integer from ${least} to ${most}, not ${value}`);
  }
}
