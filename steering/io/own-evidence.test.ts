import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { exampleSnapshot } from '../example-fleet.ts';
import { createFleet } from '../fleet.ts';
import { OwnEvidence } from './own-evidence.ts';

const BOXES = 300;
const PER_SECOND = 100;
const TICK_MS = 50;

test('without the control plane every box is probed by turns, however many there are and however few a second', async (context) => {
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 404 Not Found\r\n\r\n'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => void server.close());
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const snapshot = exampleSnapshot();
  const [one] = snapshot.appliances;
  const appliances = Array.from({ length: BOXES }, (_, at) => {
    return { ...one, applianceId: `box-${at}`, baseUrl };
  });
  const fleet = createFleet({ ...snapshot, appliances, holdings: [] });
  const clock = new SimulatedClock();
  const probed: string[] = [];
  let isGone = false;
  const evidence = new OwnEvidence({
    limits: {
      periodMs: 1000,
      connectMs: 200,
      requestMs: 500,
      perSecondMax: PER_SECOND,
      fromAddresses: [],
    },
    clock,
    log: createLogger('steering', 'silent'),
    fleet: () => fleet,
    isControlPlaneGone: () => isGone,
    pathOf: (_fleet, { applianceId }) => {
      probed.push(applianceId);
      return Promise.resolve(null);
    },
    suspectedElsewhere: () => new Set(),
    onWorse: () => undefined,
  });
  evidence.start();
  context.after(() => evidence.stop());
  const pass = async (seconds: number): Promise<void> => {
    for (let at = 0; at < (seconds * 1000) / TICK_MS; at++) {
      clock.advance(TICK_MS);
      // Probes are answered in real time: each waits for the one that it would otherwise overtake.
      for (let turn = 0; [...evidence.all()].length < new Set(probed).size && turn < 400; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }
  };
  await pass(1);
  assert.equal(probed.length, 0, 'boxes that the control plane hears need no probe');
  isGone = true;
  await pass(BOXES / PER_SECOND + 1);
  assert.equal(new Set(probed).size, BOXES, 'each was looked at');
  assert.ok(probed.length <= BOXES + 2 * PER_SECOND, `${probed.length} probes`);
  const times = new Map<string, number>();
  for (const id of probed) times.set(id, (times.get(id) ?? 0) + 1);
  assert.ok(Math.max(...times.values()) <= 2, 'none twice before the others once');
  for (const { name } of evidence.all()) assert.equal(name, 'reachable');
});
