/**
 * Our DNS as a process for the bench: the listener that steering runs, with the zone of the bench. `ADDRESS PORT [batches|portable] [unlimited]`
 */
import { systemClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { DnsPool } from '#steering/steering.ts';
import { benchWorlds, ZONE } from './dns-zone.ts';

const LOAD_EPOCH_MS = 250; // as steering freezes what a decision looks at

const [address, port, kind, limit] = process.argv.slice(2);
const pool = new DnsPool(
  {
    address,
    port: Number(port),
    zone: {
      zone: ZONE,
      steerAddresses: ['198.18.255.2'],
      nameServers: [{ name: 'ns1', addresses: ['198.18.255.3'] }],
    },
    cookieSecret: Buffer.from('bench-secret-16b'),
    rateLimited: limit !== 'unlimited',
    seed: 1,
  },
  1,
  systemClock,
  createLogger('steering', 'warn'),
  kind === 'portable' ? null : undefined,
);
await pool.start();
const worldAt = benchWorlds(Date.now());
pool.offer(worldAt(Date.now()));
const worlds = setInterval(() => pool.offer(worldAt(Date.now())), LOAD_EPOCH_MS);
process.on('SIGTERM', () => {
  clearInterval(worlds);
  void pool.stop();
});
console.log('dns ready');
