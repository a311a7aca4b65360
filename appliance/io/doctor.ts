/**
 * Looks at the machine that a box shall run on: each finding with what to do about it. Changes nothing.
 */
import { readFileSync, statfsSync, statSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { messageOf } from '#base/outcome.ts';
import { formatBytes, GIB } from '#base/units.ts';
import type { ApplianceConfig } from '../config.ts';
import { expiryProblem, readCertificate } from './certificate.ts';

export interface Finding {
  readonly level: 'ok' | 'advice' | 'problem';
  readonly what: string;
  readonly todo?: string;
}

const OPEN_FILES_PER_CONNECTION = 2;
const FREE_SHARE_MIN = 0.02;

export function examine(config: ApplianceConfig): readonly Finding[] {
  return [
    ...runtime(config),
    ...openFiles(config),
    ...config.volumes.flatMap((volume) => disk(volume.path, volume.capacityBytes)),
    ...certificate(config),
    clock(),
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

function openFiles(config: ApplianceConfig): readonly Finding[] {
  const text = readText('/proc/self/limits');
  const match = text === null ? null : /^Max open files\s+(\d+)/m.exec(text);
  if (match === null)
    return [{ level: 'advice', what: 'the limit of open files is not known here' }];
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

function disk(directory: string, capacityBytes: number): readonly Finding[] {
  try {
    const stats = statfsSync(directory);
    const sizeBytes = stats.blocks * stats.bsize;
    const findings: Finding[] = [];
    if (capacityBytes > sizeBytes * (1 - FREE_SHARE_MIN)) {
      findings.push({
        level: 'problem',
        what: `${directory}: capacityBytes ${formatBytes(capacityBytes)} of a disk of ${formatBytes(sizeBytes)}`,
        todo: `set capacityBytes to at most ${Math.floor(sizeBytes * (1 - FREE_SHARE_MIN))}`,
      });
    } else
      findings.push({
        level: 'ok',
        what: `${directory}: ${formatBytes(capacityBytes)} of ${formatBytes(sizeBytes)}`,
      });
    return [...findings, ...blockDevice(directory)];
  } catch (thrown) {
    return [
      {
        level: 'problem',
        what: `${directory}: ${messageOf(thrown)}`,
        todo: 'make the directory, or mount the disk there',
      },
    ];
  }
}

/** What /proc and /sys say of the device below a directory: mount options, write cache, encryption. */
function blockDevice(directory: string): readonly Finding[] {
  const mount = mountOf(path.resolve(directory));
  if (mount === null) return [];
  const findings: Finding[] = [];
  if (mount.options.includes('ro')) {
    findings.push({
      level: 'problem',
      what: `${mount.point} is mounted read-only`,
      todo: 'look at the kernel log; remount it read-write',
    });
  }
  const device = mount.device.split('/').at(-1) ?? '';
  if (device.startsWith('dm-') || mount.device.startsWith('/dev/mapper/')) {
    findings.push({
      level: 'ok',
      what: `${directory} lies on ${mount.device} (device mapper: encrypted if it is dm-crypt)`,
    });
  } else {
    findings.push({
      level: 'advice',
      what: `${directory} lies on ${mount.device}, not encrypted as far as can be seen`,
      todo: 'dm-crypt below the file system, where the rack is not yours',
    });
  }
  const cache = readText(
    `/sys/class/block/${device.replace(/p?\d+$/, '')}/queue/write_cache`,
  )?.trim();
  if (cache === 'write back') {
    findings.push({ level: 'ok', what: `${device}: volatile write cache on; fsync flushes it` });
  }
  return findings;
}

function mountOf(
  directory: string,
): { device: string; point: string; options: readonly string[] } | null {
  const lines = readText('/proc/self/mounts')?.split('\n') ?? [];
  let best: { device: string; point: string; options: readonly string[] } | null = null;
  for (const line of lines) {
    const [device, point, , options] = line.split(' ');
    if (point === undefined || options === undefined) continue;
    const isAbove = directory === point || directory.startsWith(point === '/' ? '/' : `${point}/`);
    if (isAbove && point.length >= (best?.point.length ?? 0)) {
      best = { device, point, options: options.split(',') };
    }
  }
  return best;
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

function clock(): Finding {
  const name = readText('/sys/devices/system/clocksource/clocksource0/current_clocksource')?.trim();
  return {
    level: 'ok',
    what: `wall clock says ${new Date().toISOString()}${name === undefined ? '' : ` (${name})`}; a running box compares it with signed time`,
  };
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
