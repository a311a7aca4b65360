/**
 * The listening socket of the zero-copy sender: bound, accepted from in bounded batches, rested when the process has no descriptor left.
 *
 * Invariants: (1) a connection above the limit is closed at once, never left in the backlog
 *             (2) level-triggered: where accept fails for want of descriptors or memory the socket leaves the epoll set until `resume`
 */
import { getSystemErrorName } from 'node:util';
import {
  EAGAIN,
  ECONNABORTED,
  EINTR,
  EPOLLIN,
  IPPROTO_TCP,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_SOCKET,
  TCP_NODELAY,
} from '#base/io/linux-abi.ts';
import type { Linux } from '#base/io/linux.ts';
import { failed, success, type Outcome } from '#base/outcome.ts';
import { listenFailure, type ListenAddress } from '../serve/sender.ts';

const ACCEPTS_PER_TURN = 64;
const BACKLOG = 4096;
/** The slot that the listener's events carry. */
export const LISTENER_SLOT = -1;

export class ZeroCopyListener {
  readonly #linux: Linux;
  #fd = -1;
  #epoll = -1;
  #isResting = false;
  #isOwned = true;

  constructor(linux: Linux) {
    this.#linux = linux;
  }

  get isOpen(): boolean {
    return this.#fd >= 0;
  }

  get fd(): number {
    return this.#fd;
  }

  /** A socket that listens already and that somebody else closes. */
  use(fd: number): Outcome<ListenAddress> {
    this.#fd = fd;
    this.#isOwned = false;
    return success(this.#linux.localAddress(fd) ?? { address: '', port: 0 });
  }

  /** `isShared`: several sockets listen on one address, and the kernel spreads connections over them. */
  bind(at: ListenAddress, isShared = false): Outcome<ListenAddress> {
    const linux = this.#linux;
    const fd = linux.tcpSocket(at.address);
    if (fd < 0) return failed(listenFailure(at, getSystemErrorName(fd), fd));
    linux.setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (isShared) linux.setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    linux.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1); // accepted sockets inherit it
    let result = linux.bind(fd, at);
    if (result === 0) result = linux.listen(fd, BACKLOG);
    if (result < 0) {
      linux.close(fd);
      return failed(listenFailure(at, getSystemErrorName(result), result));
    }
    this.#fd = fd;
    return success(linux.localAddress(fd) ?? at);
  }

  /** From here on its events come out of `epoll`. */
  watch(epoll: number): void {
    this.#epoll = epoll;
    this.#linux.epollAdd(epoll, this.#fd, EPOLLIN, LISTENER_SLOT, 0);
  }

  /** Takes what waits, a batch at a time; `take` is given each connection that `enter` had room for. */
  accept(enter: () => boolean, take: (fd: number, remoteAddress: string) => void): number {
    const linux = this.#linux;
    let refused = 0;
    for (let taken = 0; taken < ACCEPTS_PER_TURN && this.#fd >= 0; taken++) {
      const fd = linux.accept(this.#fd);
      if (fd === -EINTR || fd === -ECONNABORTED) continue;
      if (fd === -EAGAIN) return refused;
      if (fd < 0) {
        // No descriptors or no memory left: it would be said again at once.
        linux.epollDelete(this.#epoll, this.#fd);
        this.#isResting = true;
        return refused;
      }
      if (enter()) {
        take(fd, linux.peerAddress().address);
      } else {
        refused++;
        linux.close(fd); // a reset where the request is here already, else an end
      }
    }
    return refused;
  }

  /** Once in a while: tries again after it rested. */
  resume(): void {
    if (!this.#isResting || this.#fd < 0) return;
    this.#isResting = false;
    this.#linux.epollAdd(this.#epoll, this.#fd, EPOLLIN, LISTENER_SLOT, 0);
  }

  /** Whoever dials from now on is refused; who uses the descriptor may go on doing so until `close`. */
  stop(): void {
    if (this.#fd >= 0) this.#linux.stopListening(this.#fd);
  }

  close(): void {
    if (this.#fd < 0) return;
    if (this.#isOwned) this.#linux.close(this.#fd);
    else this.#linux.epollDelete(this.#epoll, this.#fd);
    this.#fd = -1;
  }
}
