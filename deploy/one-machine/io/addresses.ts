/**
 * Can we have these addresses and ports? Asked before anything is started, so that nothing is left half-started.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { codeOf, messageOf } from '#base/outcome.ts';
import type { Endpoint } from '../layout.ts';

/** null when the endpoint can be bound now, else the reason's code (EADDRINUSE, EADDRNOTAVAIL, EACCES, …). */
export function whyNotBindable(endpoint: Endpoint, kind: 'tcp' | 'udp'): Promise<string | null> {
  return new Promise((resolve) => {
    const answer = (thrown: unknown): void => resolve(codeOf(thrown) || messageOf(thrown));
    if (kind === 'udp') {
      const socket = createSocket('udp4');
      socket.once('error', (thrown) => {
        socket.close();
        answer(thrown);
      });
      socket.bind(endpoint.port, endpoint.address, () => socket.close(() => resolve(null)));
      return;
    }
    const server = createServer();
    server.once('error', answer);
    server.listen(endpoint.port, endpoint.address, () => server.close(() => resolve(null)));
  });
}

/** False where only 127.0.0.1 exists (macOS without aliases, some containers). */
export async function hasLoopbackBlock(addressBlock: string): Promise<boolean> {
  const probe = await whyNotBindable({ address: `${addressBlock}.1.1`, port: 0 }, 'tcp');
  return probe === null;
}
