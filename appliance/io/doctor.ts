/**
 * Looks at the machine that a box shall run on: each finding with what to do about it. Changes nothing.
 */
import { statSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { formatBytes, GIB } from '#base/units.ts';
import type { ApplianceConfig } from '../config.ts';
import { expiryProblem, readCertificate } from './certificate.ts';
import { diskFindings } from './doctor-disks.ts';
import { networkFindings } from './doctor-network.ts';
import { isThere, textOf, thisMachine, type Finding, type Machine } from './machine.ts';

const OPEN_FILES_PER_CONNECTION = 2;
/** cachestat(2): without it what is cold is not told from what is hot before it is sent. */
const KERNEL_WITH_CACHESTAT = [6, 5] as const;
/** Reading one of these costs a trip to a device or the hypervisor, several times a request. */
const SLOW_CLOCKS = new Set(['hpet', 'acpi_pm', 'jiffies', 'refined-jiffies']);
/** Left behind by the daemons that keep the clock right while they run. */
const TIME_DAEMONS = [
  ['chrony', 'run/chrony/chronyd.pid'],
  ['systemd-timesyncd', 'run/systemd/timesync/synchronized'],
  ['ntpd', 'run/ntpd.pid'],
  ['openntpd', 'run/openntpd.pid'],
] as const;

export function examine(
  config: ApplianceConfig,
  machine: Machine = thisMachine(),
): readonly Finding[] {
  return [
    ...runtime(config),
    kernel(machine),
    ...openFiles(config, machine),
    ...diskFindings(config, machine),
    ...networkFindings(config, machine),
    ...certificate(config),
    ...clock(machine),
  ];
}

function runtime(config: ApplianceConfig): readonly Finding[] {
  const linux = loadLinux();
  const memory = totalmem();
  return [
    {
      level: 'ok',
      what: `Node ${process.versions.node}, ${availableParallelism()} cores, ${formatBytes(memory)} of memory`,
    },
    linux !== null
      ? { level: 'ok', what: `zero-copy sender works here (configured: ${config.sender})` }
      : {
          level: config.sender === 'zero-copy' ? 'problem' : 'advice',
          what: `zero-copy sender: ${whyNoLinux()}`,
          todo: 'use the Linux runtime that comes with the product; portable serves the same with more CPU',
        },
    memory < 2 * GIB
      ? {
          level: 'advice',
          what: 'less than 2 GiB of memory',
          todo: 'lower hotCacheBytes and limits.connectionsMax',
        }
      : { level: 'ok', what: `hot cache ${formatBytes(config.hotCacheBytes)}` },
  ];
}

function kernel({ kernel: text }: Machine): Finding {
  const [major, minor] = text.split('.').map(Number);
  const [majorMin, minorMin] = KERNEL_WITH_CACHESTAT;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) {
    return { level: 'ok', what: `kernel ${text}` };
  }
  return {
    level: 'advice',
    what: `kernel ${text} does not tell what is in the page cache: a file that is read from disk holds up everybody while it is sent`,
    todo: `a kernel from ${majorMin}.${minorMin} on`,
  };
}

function openFiles(config: ApplianceConfig, machine: Machine): readonly Finding[] {
  const text = textOf(machine, 'proc/self/limits');
  const match = text === null ? null : /^Max open files\s+(\d+)/m.exec(text);
  if (match === null) return [];
  const limit = Number(match[1]);
  const needed = config.limits.connectionsMax * OPEN_FILES_PER_CONNECTION;
  if (limit >= needed) return [{ level: 'ok', what: `${limit} open files allowed` }];
  return [
    {
      level: 'problem',
      what: `${limit} open files allowed, ${config.limits.connectionsMax} connections may need ${needed}`,
      todo: `LimitNOFILE=${needed} in the unit (ulimit -n ${needed}), or a lower limits.connectionsMax`,
    },
  ];
}

function certificate({ tls }: ApplianceConfig): readonly Finding[] {
  if (tls === undefined) {
    const todo =
      'give "tls" a certificate where viewers’ pages are https: browsers block plain HTTP there';
    return [{ level: 'advice', what: 'no TLS listener', todo }];
  }
  const read = readCertificate(tls);
  if (!read.ok) {
    const todo = 'the box does not start with it; a running one keeps its old certificate';
    return [{ level: 'problem', what: read.failure.detail, todo }];
  }
  const { notAfterMs, names } = read.value;
  const findings: Finding[] = [];
  const problem = expiryProblem(read.value, Date.now());
  if (problem !== null) {
    const todo = 'renew it; the box reads both files again when they change';
    findings.push({ level: 'problem', what: problem, todo });
  } else {
    const until = new Date(notAfterMs).toISOString();
    const path = 'TLS 1.3 and 1.2 by node:tls, portable path';
    findings.push({ level: 'ok', what: `${path}: ${names.join(', ')}, until ${until}` });
  }
  if ((statSync(tls.keyFile).mode & 0o007) !== 0) {
    const todo = `chmod o= ${tls.keyFile}`;
    findings.push({ level: 'problem', what: `everybody may read the key ${tls.keyFile}`, todo });
  }
  return findings;
}

function clock(machine: Machine): readonly Finding[] {
  const findings: Finding[] = [];
  const source = textOf(machine, 'sys/devices/system/clocksource/clocksource0/current_clocksource');
  const what = `wall clock says ${new Date().toISOString()}`;
  findings.push({ level: 'ok', what: `${what}; a running box compares it with signed time` });
  if (source !== null && SLOW_CLOCKS.has(source)) {
    findings.push({
      level: 'problem',
      what: `the kernel reads its clock from ${source}, which is slow, and reads it for every answer`,
      todo: 'find out in the kernel log why tsc (or kvm-clock, arch_sys_counter) was given up',
    });
  } else if (source !== null) {
    findings.push({ level: 'ok', what: `clock source ${source}` });
  }
  const daemon = TIME_DAEMONS.find(([, file]) => isThere(machine, file));
  findings.push(
    daemon === undefined
      ? {
          level: 'advice',
          what: 'nothing is seen that keeps the wall clock right (chrony, systemd-timesyncd, ntpd)',
          todo: 'apt-get install chrony: after a boot without the control plane the wall clock is all there is',
        }
      : { level: 'ok', what: `${daemon[0]} keeps the wall clock right` },
  );
  return findings;
}
