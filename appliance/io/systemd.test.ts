import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { SystemdNotifier } from './systemd.ts';

function isHere(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined;
}
const WHY_NOT = !isHere('python3')
  ? 'python3 is not installed: Node has no unix datagrams to listen with'
  : !isHere('systemd-notify')
    ? 'systemd-notify is not installed'
    : false;

/** What systemd does: a datagram socket, each message said on a line. */
const LISTENER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('listening', flush=True)
while True:
    for line in s.recv(4096).decode().splitlines():
        print(line, flush=True)
`;

test(
  'systemd is told that the box is ready, alive again and again, and stopping',
  { skip: WHY_NOT },
  async () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-systemd-'));
    const socket = path.join(directory, 'notify');
    const listener = spawn('python3', ['-c', LISTENER, socket], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines: string[] = [];
    const reader = createInterface(listener.stdout);
    reader.on('line', (line) => lines.push(line));
    const heard = async (wanted: string, times = 1): Promise<void> => {
      while (lines.filter((line) => line === wanted).length < times) await once(reader, 'line');
    };
    try {
      await heard('listening');
      process.env['NOTIFY_SOCKET'] = socket;
      process.env['WATCHDOG_USEC'] = '400000';
      const notifier = new SystemdNotifier(systemClock, createLogger('test', 'silent'));
      notifier.ready();
      await heard('READY=1');
      await heard('WATCHDOG=1', 2);
      notifier.stopping();
      await heard('STOPPING=1');
    } finally {
      delete process.env['NOTIFY_SOCKET'];
      delete process.env['WATCHDOG_USEC'];
      listener.kill('SIGKILL');
      await once(listener, 'exit');
      rmSync(directory, { recursive: true });
    }
  },
);

test('without a notify socket nothing is said and nothing is fed', () => {
  const notifier = new SystemdNotifier(
    { ...systemClock, every: () => assert.fail('no watchdog is asked for') },
    createLogger('test', 'silent'),
  );
  notifier.ready();
  notifier.stopping();
});
