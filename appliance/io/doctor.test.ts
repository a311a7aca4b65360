import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { withDefaults } from '#base/config.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { ApplianceConfigSchema, type ApplianceConfig } from '../config.ts';
import { examine } from './doctor.ts';
import { thisMachine, type Finding, type Machine } from './machine.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-doctor-'));
after(() => rmSync(directory, { recursive: true }));
const volume = path.join(directory, 'volume');
mkdirSync(volume);

const NIC = 'sys/class/net/eth0';
const CLOCK = 'sys/devices/system/clocksource/clocksource0/current_clocksource';

/** A machine with which all is well, as files; `null` takes one away. */
const SOUND: Readonly<Record<string, string | null>> = {
  'proc/self/limits': 'Max open files            65536                65536                files\n',
  'proc/self/mounts': `/dev/vda1 / ext4 rw 0 0\n/dev/mapper/content ${directory} xfs rw,relatime 0 0\n`,
  'sys/class/block/dm-0/dm/name': 'content\n',
  'sys/class/block/dm-0/dm/uuid': 'CRYPT-LUKS2-0123-content\n',
  'sys/class/block/dm-0/queue/write_cache': 'write back\n',
  'sys/class/block/dm-0/queue/rotational': '0\n',
  'sys/class/block/nvme0n1/queue/write_cache': 'write through\n',
  [`${NIC}/operstate`]: 'up\n',
  [`${NIC}/speed`]: '25000\n',
  [`${NIC}/mtu`]: '9000\n',
  [`${NIC}/duplex`]: 'full\n',
  'proc/sys/net/core/somaxconn': '4096\n',
  'proc/sys/net/ipv4/tcp_slow_start_after_idle': '0\n',
  'proc/sys/net/ipv4/tcp_wmem': '4096\t65536\t4194304\n',
  'proc/sys/net/ipv4/tcp_congestion_control': 'bbr\n',
  'proc/sys/net/ipv6/conf/all/disable_ipv6': '0\n',
  [CLOCK]: 'tsc\n',
  'run/chrony/chronyd.pid': '77\n',
};

function machine(changes: Readonly<Record<string, string | null>>, kernel = '6.8.0-1'): Machine {
  const root = mkdtempSync(path.join(directory, 'machine-'));
  for (const [name, text] of Object.entries({ ...SOUND, ...changes })) {
    if (text === null) continue;
    mkdirSync(path.join(root, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  return { root, kernel, addresses: new Map([['eth0', ['192.0.2.1', '2001:db8::1']]]) };
}

function config(overrides: Record<string, unknown> = {}): ApplianceConfig {
  const outcome = withDefaults(ApplianceConfigSchema, {
    applianceId: 'box-1',
    listen: { address: '192.0.2.1', port: 80 },
    publicBaseUrl: 'http://box-1',
    admin: { address: '127.0.0.1', port: 0 },
    stateDir: path.join(directory, 'state'),
    volumes: [{ path: volume, capacityBytes: 16 * CHUNK_BYTES }],
    enrolmentTokenFile: path.join(directory, 'token'),
    applianceClass: 'flash',
    servingBps: 25_000_000_000,
    ...overrides,
  });
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

/** What is not well, less what every machine here is told: no TLS listener, little memory. */
function complaints(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(
    ({ level, what }) => level !== 'ok' && !/^no TLS|of memory$|^zero-copy/.test(what),
  );
}

test('a sound machine has no complaint, and is told what was looked at', () => {
  const findings = examine(config(), machine({}));
  assert.deepEqual(complaints(findings), []);
  const text = findings.map(({ what }) => what).join('\n');
  for (const word of [
    /eth0: up, 25.* Gbit\/s, MTU 9000/,
    /encrypted \(dm-crypt\)/,
    /dm-0: volatile write cache, flushed/,
    /TCP by bbr/,
    /chrony keeps the wall clock right/,
    /kernel 6\.8/,
    /65536 open files allowed/,
    /clock source tsc/,
  ]) {
    assert.match(text, word);
  }
});

const mounts = (line: string): Record<string, string> => ({
  'proc/self/mounts': `${line.replace('@', directory)}\n`,
});
const TWO = [
  { path: volume, capacityBytes: 16 * CHUNK_BYTES },
  { path: directory, capacityBytes: 16 * CHUNK_BYTES },
];

const troubles: readonly [
  name: string,
  changes: Readonly<Record<string, string | null>>,
  overrides: Record<string, unknown>,
  level: 'advice' | 'problem',
  what: RegExp,
  todo: RegExp,
][] = [
  [
    'few open files',
    { 'proc/self/limits': 'Max open files  1024  1024  files' },
    {},
    'problem',
    /1024 open files allowed, 20000 connections may need 40000/,
    /LimitNOFILE=40000/,
  ],
  [
    'a read-only disk',
    mounts('/dev/mapper/content @ xfs ro 0 0'),
    {},
    'problem',
    /mounted read-only/,
    /remount/,
  ],
  [
    'a disk without barriers',
    mounts('/dev/mapper/content @ ext4 rw,nobarrier 0 0'),
    {},
    'problem',
    /a power cut may take chunks/,
    /without nobarrier/,
  ],
  [
    'a volume in memory',
    mounts('tmpfs @ tmpfs rw 0 0'),
    {},
    'problem',
    /lies in memory/,
    /on a disk/,
  ],
  [
    'a disk that is not encrypted',
    mounts('/dev/nvme0n1p2 @ xfs rw 0 0'),
    {},
    'advice',
    /\/dev\/nvme0n1p2, not encrypted/,
    /cryptsetup/,
  ],
  [
    'a spinning disk that counts as fast',
    { 'sys/class/block/dm-0/queue/rotational': '1' },
    {},
    'advice',
    /dm-0, which calls itself a spinning disk/,
    /speed: "slow"/,
  ],
  [
    'two volumes on one disk',
    {},
    { volumes: TWO },
    'advice',
    /lie on one device, \/dev\/mapper\/content/,
    /one volume a device/,
  ],
  [
    'a capacity that the disk has not',
    {},
    { volumes: [{ path: volume, capacityBytes: 10 ** 15 }] },
    'problem',
    /capacityBytes .* of a disk of/,
    /at most \d+/,
  ],
  [
    'a directory that is not there',
    {},
    { volumes: [{ path: `${volume}/none`, capacityBytes: 16 * CHUNK_BYTES }] },
    'problem',
    /none: ENOENT/,
    /mount the disk/,
  ],
  [
    'more servingBps than the NIC has',
    { [`${NIC}/speed`]: '10000' },
    {},
    'problem',
    /the interfaces carry 10.* Gbit\/s/,
    /at most 10000000000/,
  ],
  [
    'a NIC that is down',
    { [`${NIC}/operstate`]: 'down' },
    {},
    'problem',
    /eth0 is down/,
    /ip link set eth0 up/,
  ],
  ['a half-duplex NIC', { [`${NIC}/duplex`]: 'half' }, {}, 'problem', /half duplex/, /negotiate/],
  [
    'an address that nobody has',
    {},
    { listen: { address: '192.0.2.9', port: 80 } },
    'problem',
    /no interface .* 192\.0\.2\.9/,
    /listen\.address/,
  ],
  [
    'a short backlog',
    { 'proc/sys/net/core/somaxconn': '128' },
    {},
    'problem',
    /lets 128 connections wait/,
    /somaxconn=4096/,
  ],
  [
    'slow start after each pause',
    { 'proc/sys/net/ipv4/tcp_slow_start_after_idle': '1' },
    {},
    'advice',
    /start slowly again/,
    /tcp_slow_start_after_idle=0/,
  ],
  [
    'small send buffers',
    { 'proc/sys/net/ipv4/tcp_wmem': '4096 16384 131072' },
    {},
    'advice',
    /may hold 131072 bytes/,
    /tcp_wmem/,
  ],
  [
    'IPv6 that is switched off',
    { 'proc/sys/net/ipv6/conf/all/disable_ipv6': '1' },
    { listen: { address: '2001:db8::1', port: 80 } },
    'problem',
    /IPv6 switched off/,
    /disable_ipv6=0/,
  ],
  ['a slow clock source', { [CLOCK]: 'hpet' }, {}, 'problem', /reads its clock from hpet/, /tsc/],
  [
    'nobody who keeps the time',
    { 'run/chrony/chronyd.pid': null },
    {},
    'advice',
    /keeps the wall clock right/,
    /chrony/,
  ],
];

for (const [name, changes, overrides, level, what, todo] of troubles) {
  test(`${name}: said, with what to do`, () => {
    const found = complaints(examine(config(overrides), machine(changes)));
    const match = found.find((finding) => what.test(finding.what));
    assert.ok(match !== undefined, JSON.stringify(found));
    assert.equal(match.level, level);
    assert.match(match.todo ?? '', todo);
    assert.equal(found.length, 1, `nothing else is complained about: ${JSON.stringify(found)}`);
  });
}

test('an old kernel is told of, as cold files hold up everybody there', () => {
  const [finding] = complaints(examine(config(), machine({}, '5.15.0-91-generic')));
  assert.match(finding.what, /5\.15.*page cache/);
});

test('this very machine is examined without an exception, and every complaint says what to do', () => {
  const findings = examine(config({ listen: { address: '127.0.0.1', port: 80 } }), thisMachine());
  assert.ok(findings.length > 5);
  for (const { level, what, todo } of findings) {
    assert.ok(level === 'ok' || (todo !== undefined && todo.length > 10), what);
  }
});
