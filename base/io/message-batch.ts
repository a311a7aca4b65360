/**
 * Datagrams by the batch: memory for one recvmmsg and one sendmmsg, laid out as the kernel wants it.
 *
 * Slot i receives into its own piece of memory and answers from another one, to the address that it received from.
 *
 * Invariants: (1) every pointer points into one NativeMemory of this batch
 * Source:     recvmmsg(2), sendmmsg(2): struct mmsghdr is a msghdr of 56 bytes and a length, 64 in all on 64-bit Linux
 */
import { AF_INET, AF_INET6, checkInteger, type NativeMemory } from './linux-abi.ts';

export const MMSGHDR_BYTES = 64;
const IOVEC_BYTES = 16;
const NAME_BYTES = 32; // sockaddr_in6 is 28
const NAME_LENGTH_AT = 8; // in a msghdr
const LENGTH_AT = 56; // in an mmsghdr
const FLAGS_AT = 48;
const MSG_TRUNCATED = 0x20;
/** Between slots: at a distance of a power of two their first lines would all want the same place in the cache. */
const SLOT_GAP_BYTES = 192;

export class MessageBatch {
  readonly capacity: number;
  readonly bytesMax: number;
  readonly #bytes: Buffer;
  readonly receivePointer: bigint;
  readonly sendPointer: bigint;
  readonly #words: Uint32Array; // the same memory
  readonly #layout: {
    readonly send: number;
    readonly sendIovecs: number;
    readonly names: number;
    readonly received: number;
    readonly answers: number;
    readonly slotBytes: number;
  };
  readonly #inputs: readonly Buffer[];
  readonly #outputs: readonly Buffer[];
  readonly #low: number; // of the memory's address
  readonly #high: number;
  #count = 0; // answers to send

  constructor(allocate: (length: number) => NativeMemory, capacity: number, bytesMax: number) {
    checkInteger('capacity', capacity, 1, 1024);
    checkInteger('bytesMax', bytesMax, 64, 65_536);
    this.capacity = capacity;
    this.bytesMax = bytesMax;
    const send = capacity * MMSGHDR_BYTES;
    const receiveIovecs = send * 2;
    const sendIovecs = receiveIovecs + capacity * IOVEC_BYTES;
    const names = sendIovecs + capacity * IOVEC_BYTES;
    const received = names + capacity * NAME_BYTES;
    const slotBytes = bytesMax + SLOT_GAP_BYTES;
    const answers = received + capacity * slotBytes;
    const memory = allocate(answers + capacity * slotBytes);
    this.#layout = { send, sendIovecs, names, received, answers, slotBytes };
    this.#bytes = memory.bytes;
    this.#words = new Uint32Array(
      memory.bytes.buffer,
      memory.bytes.byteOffset,
      memory.bytes.length >>> 2,
    );
    this.receivePointer = memory.pointer;
    this.#low = Number(memory.pointer & 0xffff_ffffn);
    this.#high = Number(memory.pointer >> 32n);
    this.sendPointer = memory.pointer + BigInt(send);
    const place = (at: number, header: number, iovec: number, payload: number): void => {
      const name = memory.pointer + BigInt(names + at * NAME_BYTES);
      this.#bytes.writeBigUInt64LE(name, header);
      this.#bytes.writeUInt32LE(NAME_BYTES, header + NAME_LENGTH_AT);
      this.#bytes.writeBigUInt64LE(memory.pointer + BigInt(iovec), header + 16);
      this.#bytes.writeBigUInt64LE(1n, header + 24);
      this.#bytes.writeBigUInt64LE(memory.pointer + BigInt(payload), iovec);
      this.#bytes.writeBigUInt64LE(BigInt(bytesMax), iovec + 8);
    };
    for (let at = 0; at < capacity; at++) {
      place(at, at * MMSGHDR_BYTES, receiveIovecs + at * IOVEC_BYTES, received + at * slotBytes);
      place(at, send + at * MMSGHDR_BYTES, sendIovecs + at * IOVEC_BYTES, answers + at * slotBytes);
    }
    const slices = (start: number): readonly Buffer[] =>
      Array.from({ length: capacity }, (_, at) =>
        this.#bytes.subarray(start + at * slotBytes, start + at * slotBytes + bytesMax),
      );
    this.#inputs = slices(received);
    this.#outputs = slices(answers);
  }

  /** Before each recvmmsg: the kernel shortens name lengths. */
  prepareReceive(): void {
    for (let at = 0; at < this.capacity; at++) {
      this.#words[(at * MMSGHDR_BYTES + NAME_LENGTH_AT) >>> 2] = NAME_BYTES;
    }
    this.#count = 0;
  }

  /** What slot `at` received; null where it was longer than `bytesMax`. Valid until the next recvmmsg. */
  received(at: number): Buffer | null {
    const header = at * MMSGHDR_BYTES;
    if ((this.#words[(header + FLAGS_AT) >>> 2] & MSG_TRUNCATED) !== 0) return null;
    return this.#inputs[at].subarray(0, this.#words[(header + LENGTH_AT) >>> 2]);
  }

  /** The sender's address, 4 or 16 bytes, as a view. */
  sender(at: number): Buffer {
    const name = this.#layout.names + at * NAME_BYTES;
    return this.#bytes.readUInt16LE(name) === AF_INET
      ? this.#bytes.subarray(name + 4, name + 8)
      : this.#bytes.subarray(name + 8, name + 24);
  }

  senderPort(at: number): number {
    return this.#bytes.readUInt16BE(this.#layout.names + at * NAME_BYTES + 2);
  }

  /** Says where what `answer(at, …)` queues goes, where nothing was received before. */
  setPeer(at: number, address: Uint8Array, port: number): void {
    const name = this.#layout.names + at * NAME_BYTES;
    this.#bytes.writeUInt16LE(address.length === 4 ? AF_INET : AF_INET6, name);
    this.#bytes.writeUInt16BE(port, name + 2);
    this.#bytes.set(address, name + (address.length === 4 ? 4 : 8));
  }

  /** Room for the answer to slot `at`: write there, then `answer(at, length)`. */
  room(at: number): Buffer {
    return this.#outputs[at];
  }

  // The same by offset in `memory`, for readers and writers that want no view per datagram.

  /** All of the batch's memory. */
  get memory(): Buffer {
    return this.#bytes;
  }

  receivedAt(at: number): number {
    return this.#layout.received + at * this.#layout.slotBytes;
  }

  /** -1 where the datagram was longer than `bytesMax`. */
  receivedBytes(at: number): number {
    const header = at * MMSGHDR_BYTES;
    if ((this.#words[(header + FLAGS_AT) >>> 2] & MSG_TRUNCATED) !== 0) return -1;
    return this.#words[(header + LENGTH_AT) >>> 2];
  }

  senderAt(at: number): number {
    const name = this.#layout.names + at * NAME_BYTES;
    return name + (this.#bytes[name] === AF_INET ? 4 : 8);
  }

  senderBytes(at: number): number {
    return this.#bytes[this.#layout.names + at * NAME_BYTES] === AF_INET ? 4 : 16;
  }

  roomAt(at: number): number {
    return this.#layout.answers + at * this.#layout.slotBytes;
  }

  /** Queues what lies in `room(at)`. Answers are sent in the order of these calls. */
  answer(at: number, length: number): void {
    const { names, send, sendIovecs } = this.#layout;
    const to = this.#count++;
    const header = (send + to * MMSGHDR_BYTES) >>> 2;
    const iovec = (sendIovecs + to * IOVEC_BYTES) >>> 2;
    this.#setPointer(header, names + at * NAME_BYTES);
    this.#words[header + (NAME_LENGTH_AT >>> 2)] =
      this.#words[(at * MMSGHDR_BYTES + NAME_LENGTH_AT) >>> 2];
    this.#setPointer(iovec, this.roomAt(at));
    this.#words[iovec + 2] = length;
  }

  /** How many answers wait to be sent. */
  get answers(): number {
    return this.#count;
  }

  #setPointer(word: number, offset: number): void {
    const low = this.#low + offset;
    this.#words[word] = low % 0x1_0000_0000;
    this.#words[word + 1] = low >= 0x1_0000_0000 ? this.#high + 1 : this.#high;
  }
}
