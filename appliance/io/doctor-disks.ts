/**
 * What `doctor` says of the disks below the volumes: room, mount options, write cache, encryption, kind, who shares one.
 */
import { statfsSync } from 'node:fs';
import path from 'node:path';
import { messageOf } from '#base/outcome.ts';
import { formatBytes } from '#base/units.ts';
import type { ApplianceConfig } from '../config.ts';
import { namesIn, numberOf, textOf, type Finding, type Machine } from './machine.ts';

const FREE_SHARE_MIN = 0.02;
/** In memory: gone with the power. */
const MEMORY_FILE_SYSTEMS = new Set(['tmpfs', 'ramfs']);
/** Mount options without which a synced write may be in a disk's cache only. */
const NO_BARRIER = ['nobarrier', 'barrier=0'];

interface Mount {
  readonly device: string;
  readonly point: string;
  readonly fileSystem: string;
  readonly options: readonly string[];
}

export function diskFindings(config: ApplianceConfig, machine: Machine): readonly Finding[] {
  const findings: Finding[] = [];
  const volumesOf = new Map<string, string[]>();
  for (const volume of config.volumes) {
    const room = roomOf(volume.path, volume.capacityBytes);
    findings.push(room);
    const mount = mountOf(machine, path.resolve(volume.path));
    if (mount === null) continue;
    findings.push(...mountFindings(mount), ...deviceFindings(volume, mount, machine));
    volumesOf.set(mount.device, [...(volumesOf.get(mount.device) ?? []), volume.path]);
  }
  for (const [device, paths] of volumesOf) {
    if (paths.length < 2) continue;
    findings.push({
      level: 'advice',
      what: `${paths.join(' and ')} lie on one device, ${device}: it takes them all with it, and they wait for each other`,
      todo: 'one volume a device',
    });
  }
  return findings;
}

function roomOf(directory: string, capacityBytes: number): Finding {
  let sizeBytes: number;
  try {
    const stats = statfsSync(directory);
    sizeBytes = stats.blocks * stats.bsize;
  } catch (thrown) {
    return {
      level: 'problem',
      what: `${directory}: ${messageOf(thrown)}`,
      todo: 'make the directory, or mount the disk there',
    };
  }
  const what = `${formatBytes(capacityBytes)} of a disk of ${formatBytes(sizeBytes)}`;
  const capacityMax = Math.floor(sizeBytes * (1 - FREE_SHARE_MIN));
  if (capacityBytes <= capacityMax) return { level: 'ok', what: `${directory}: ${what}` };
  return {
    level: 'problem',
    what: `${directory}: capacityBytes ${what}`,
    todo: `set capacityBytes to at most ${capacityMax}`,
  };
}

function mountFindings(mount: Mount): readonly Finding[] {
  const findings: Finding[] = [];
  if (mount.options.includes('ro')) {
    findings.push({
      level: 'problem',
      what: `${mount.point} is mounted read-only`,
      todo: 'look at the kernel log (dmesg); check the disk, then remount it read-write',
    });
  }
  const option = NO_BARRIER.find((name) => mount.options.includes(name));
  if (option !== undefined) {
    findings.push({
      level: 'problem',
      what: `${mount.point} is mounted with ${option}: a power cut may take chunks that are called present`,
      todo: `remount it without ${option}`,
    });
  }
  if (MEMORY_FILE_SYSTEMS.has(mount.fileSystem)) {
    findings.push({
      level: 'problem',
      what: `${mount.point} is ${mount.fileSystem}: it lies in memory, and is empty after a restart of the machine`,
      todo: 'put the volume on a disk',
    });
  }
  return findings;
}

/** What /sys says of the block device: encryption, write cache, spinning or not. */
function deviceFindings(
  volume: ApplianceConfig['volumes'][number],
  mount: Mount,
  machine: Machine,
): readonly Finding[] {
  const block = blockOf(machine, mount.device);
  if (block === null) return [];
  const findings: Finding[] = [encryption(volume.path, mount.device, block, machine)];
  const disk = wholeDisk(block);
  const queue = `sys/class/block/${disk}/queue`;
  const cache = textOf(machine, `${queue}/write_cache`);
  if (cache === 'write back') {
    findings.push({
      level: 'ok',
      what: `${disk}: volatile write cache, flushed by each fsync`,
    });
  } else if (cache !== null) {
    findings.push({
      level: 'ok',
      what: `${disk}: write cache ${cache}: a synced write is durable`,
    });
  }
  const isSpinning = numberOf(machine, `${queue}/rotational`) === 1;
  if (isSpinning && volume.speed !== 'slow') {
    findings.push({
      level: 'advice',
      what: `${volume.path} lies on ${disk}, which calls itself a spinning disk, and counts as fast`,
      todo: 'speed: "slow" for it, so that hot files go to flash (virtual disks often call themselves spinning: then leave it)',
    });
  }
  return findings;
}

function encryption(directory: string, device: string, block: string, machine: Machine): Finding {
  const target = textOf(machine, `sys/class/block/${block}/dm/uuid`) ?? '';
  if (target.startsWith('CRYPT-')) {
    return { level: 'ok', what: `${directory} lies on ${device}, encrypted (dm-crypt)` };
  }
  return {
    level: 'advice',
    what: `${directory} lies on ${device}, not encrypted as far as can be seen`,
    todo: 'dm-crypt below the file system (cryptsetup luksFormat), where the rack is not yours',
  };
}

/** Its name under /sys/class/block; null for what is no block device there. */
function blockOf(machine: Machine, device: string): string | null {
  if (!device.startsWith('/dev/')) return null;
  const name = path.basename(device);
  if (!device.startsWith('/dev/mapper/')) return name;
  const mapped = namesIn(machine, 'sys/class/block').find(
    (block) => textOf(machine, `sys/class/block/${block}/dm/name`) === name,
  );
  return mapped ?? null;
}

/** vda1 -> vda, nvme0n1p2 -> nvme0n1. */
function wholeDisk(block: string): string {
  return /^(.*\d)p\d+$/.exec(block)?.[1] ?? /^([a-z]+)\d+$/.exec(block)?.[1] ?? block;
}

function mountOf(machine: Machine, directory: string): Mount | null {
  const lines = textOf(machine, 'proc/self/mounts')?.split('\n') ?? [];
  let best: Mount | null = null;
  for (const line of lines) {
    const [device, point, fileSystem, options] = line.split(' ');
    if (point === undefined || options === undefined) continue;
    const isAbove = directory === point || directory.startsWith(point === '/' ? '/' : `${point}/`);
    if (isAbove && point.length >= (best?.point.length ?? 0)) {
      best = { device, point, fileSystem, options: options.split(',') };
    }
  }
  return best;
}
