/**
 * What `doctor` says of the way out: the interface that carries content, and the kernel's settings for many long connections.
 */
import { formatBps } from '#base/units.ts';
import type { ApplianceConfig } from '../config.ts';
import { namesIn, numberOf, textOf, type Finding, type Machine } from './machine.ts';

const ANY_ADDRESS = new Set(['0.0.0.0', '::']);
const BACKLOG_MIN = 1024;
/** An answer of 1 MiB and the next one: with less, every answer waits for the client's acknowledgements. */
const SEND_BUFFER_BYTES_MIN = 2 * 1024 * 1024;

export function networkFindings(config: ApplianceConfig, machine: Machine): readonly Finding[] {
  return [...interfaces(config, machine), ...settings(config, machine)];
}

function interfaces(config: ApplianceConfig, machine: Machine): readonly Finding[] {
  const { address } = config.listen;
  const isAny = ANY_ADDRESS.has(address);
  const names = isAny
    ? namesIn(machine, 'sys/class/net').filter((name) => name !== 'lo')
    : [...machine.addresses].filter(([, list]) => list.includes(address)).map(([name]) => name);
  if (names.length === 0 && !isAny) {
    return [
      {
        level: 'problem',
        what: `no interface of this machine has the address ${address}`,
        todo: 'bring the interface up, or correct listen.address',
      },
    ];
  }
  const findings: Finding[] = [];
  let totalBps = 0;
  for (const name of names) {
    const at = `sys/class/net/${name}`;
    const state = textOf(machine, `${at}/operstate`) ?? 'unknown';
    const mbps = numberOf(machine, `${at}/speed`) ?? -1;
    const mtu = numberOf(machine, `${at}/mtu`);
    const speed = mbps > 0 ? formatBps(mbps * 1e6) : 'speed not told';
    if (state === 'down' || state === 'lowerlayerdown') {
      findings.push({
        level: isAny ? 'advice' : 'problem',
        what: `${name} is down`,
        todo: `ip link set ${name} up; look at its cable and the switch`,
      });
      continue;
    }
    totalBps += Math.max(0, mbps) * 1e6;
    findings.push({ level: 'ok', what: `${name}: ${state}, ${speed}, MTU ${mtu ?? 'not told'}` });
    if (textOf(machine, `${at}/duplex`) === 'half') {
      findings.push({
        level: 'problem',
        what: `${name} runs half duplex`,
        todo: 'let both ends negotiate (ethtool -s NAME autoneg on)',
      });
    }
  }
  if (totalBps > 0 && config.servingBps > totalBps) {
    findings.push({
      level: 'problem',
      what: `servingBps is ${formatBps(config.servingBps)}, the interfaces carry ${formatBps(totalBps)}: the box would let in more viewers than it can serve`,
      todo: `set servingBps to at most ${totalBps}`,
    });
  }
  return findings;
}

function settings(config: ApplianceConfig, machine: Machine): readonly Finding[] {
  const findings: Finding[] = [];
  const net = 'proc/sys/net';
  const backlog = numberOf(machine, `${net}/core/somaxconn`);
  if (backlog !== null && backlog < BACKLOG_MIN) {
    findings.push({
      level: 'problem',
      what: `the kernel lets ${backlog} connections wait to be taken: a crowd is dropped in silence, and players wait for a minute`,
      todo: 'sysctl net.core.somaxconn=4096',
    });
  }
  if (numberOf(machine, `${net}/ipv4/tcp_slow_start_after_idle`) === 1) {
    findings.push({
      level: 'advice',
      what: 'connections start slowly again after each pause between two segments',
      todo: 'sysctl net.ipv4.tcp_slow_start_after_idle=0',
    });
  }
  const sendBytesMax = Number(textOf(machine, `${net}/ipv4/tcp_wmem`)?.split(/\s+/)[2] ?? NaN);
  if (sendBytesMax < SEND_BUFFER_BYTES_MIN) {
    findings.push({
      level: 'advice',
      what: `a connection may hold ${sendBytesMax} bytes that were not acknowledged: too few for a distant viewer`,
      todo: 'sysctl net.ipv4.tcp_wmem="4096 65536 4194304"',
    });
  }
  const congestion = textOf(machine, `${net}/ipv4/tcp_congestion_control`);
  if (congestion !== null) findings.push({ level: 'ok', what: `TCP by ${congestion}` });
  if (
    config.listen.address.includes(':') &&
    numberOf(machine, `${net}/ipv6/conf/all/disable_ipv6`) === 1
  ) {
    findings.push({
      level: 'problem',
      what: `listen.address is ${config.listen.address}, and this kernel has IPv6 switched off`,
      todo: 'sysctl net.ipv6.conf.all.disable_ipv6=0',
    });
  }
  return findings;
}
