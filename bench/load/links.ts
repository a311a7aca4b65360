/**
 * Places joined by links of a set rate, each place a network namespace: a core, and around it whatever hangs on it by one link.
 *
 *   core (bridge br0, 10.77.0.1) --tbf down--> wan0 of a place (its addresses)
 *                                <--tbf up----
 *
 * Within a place addresses talk over its own `lo`: a LAN without a limit of its own.
 *
 * Invariants: (1) every namespace is deleted when the bench ends, by whatever way but SIGKILL; links go with them
 *             (2) the rate is that of the wire: headers of TCP and IP are inside it (1448 of 1514 bytes are payload)
 */
import { spawnSync } from 'node:child_process';
import { openNamespace, type Namespace } from './namespace.ts';

export const CORE_ADDRESS = '10.77.0.1';
const PREFIX_BITS = 24;
const QUEUE_MS = 50; // a router's buffer: enough for TCP to fill the link, not a second's worth
const BURST_MS = 5;
const BURST_BYTES_MIN = 64 * 1024;

export interface LinkSpec {
  readonly name: string; // of at most 8 letters: it is part of an interface's name
  readonly addresses: readonly string[];
  readonly bps: number; // each way
}

/** Throws with a message for the user where there can be none. Call it outside; what runs inside finds its places by name. */
export function openLinks(specs: readonly LinkSpec[]): Namespace {
  if (spawnSync('tc', ['-V']).error !== undefined) {
    throw new Error('the tc command is missing: apt-get install iproute2');
  }
  const core = openNamespace();
  const made: string[] = [];
  const close = (): void => {
    process.off('exit', close);
    for (const name of made.splice(0)) spawnSync('ip', ['netns', 'del', name]);
    core[Symbol.dispose]();
  };
  process.on('exit', close);
  try {
    const inCore = ['-n', core.name ?? ''];
    ip(...inCore, 'link', 'add', 'br0', 'type', 'bridge');
    ip(...inCore, 'addr', 'add', `${CORE_ADDRESS}/${PREFIX_BITS}`, 'dev', 'br0');
    ip(...inCore, 'link', 'set', 'br0', 'up');
    for (const spec of specs) {
      const name = placeName(core.name ?? '', spec.name);
      ip('netns', 'add', name);
      made.push(name);
      join(core.name ?? '', name, spec);
    }
  } catch (thrown) {
    close();
    throw thrown;
  }
  return { ...core, [Symbol.dispose]: close };
}

/** A place as seen from a bench process that runs in the core. */
export function placeOf(name: string): Namespace {
  const core = process.env['NIGHTFILL_BENCH_NAMESPACE'] ?? '';
  return {
    name: placeName(core, name),
    inside: (argv) => ['ip', 'netns', 'exec', placeName(core, name), ...argv],
    [Symbol.dispose]: () => {},
  };
}

function placeName(core: string, name: string): string {
  return `${core}-${name}`;
}

function join(core: string, place: string, spec: LinkSpec): void {
  const outer = `to-${spec.name}`;
  ip('-n', core, 'link', 'add', outer, 'type', 'veth', 'peer', 'name', 'wan0', 'netns', place);
  ip('-n', core, 'link', 'set', outer, 'master', 'br0', 'up');
  for (const address of spec.addresses) {
    ip('-n', place, 'addr', 'add', `${address}/${PREFIX_BITS}`, 'dev', 'wan0');
  }
  ip('-n', place, 'link', 'set', 'lo', 'mtu', '1500', 'up');
  ip('-n', place, 'link', 'set', 'wan0', 'up');
  shape(core, outer, spec.bps);
  shape(place, 'wan0', spec.bps);
}

function shape(namespace: string, device: string, bps: number): void {
  const burstBytes = Math.max(BURST_BYTES_MIN, Math.ceil((bps / 8) * (BURST_MS / 1000)));
  run(
    'tc',
    '-n',
    namespace,
    'qdisc',
    'add',
    'dev',
    device,
    'root',
    'tbf',
    'rate',
    `${Math.round(bps)}bit`,
    'burst',
    String(burstBytes),
    'latency',
    `${QUEUE_MS}ms`,
  );
}

function ip(...argv: readonly string[]): void {
  run('ip', ...argv);
}

function run(...argv: readonly string[]): void {
  const ended = spawnSync(argv[0], argv.slice(1), { encoding: 'utf8' });
  if (ended.status !== 0) {
    throw new Error(`${argv.join(' ')} failed: ${ended.stderr ?? String(ended.error)}`.trim());
  }
}
