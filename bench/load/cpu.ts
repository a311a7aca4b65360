/**
 * CPU time of a server: its process, all threads, and its children (nginx's workers).
 *
 * Units:  seconds of CPU. From /proc/<pid>/task/<tid>/schedstat (nanoseconds); where the kernel keeps none, from
 *         /proc/<pid>/stat in ticks of 10 ms.
 */
import { readdirSync, readFileSync } from 'node:fs';

const TICKS_PER_SECOND = 100; // USER_HZ, the same on every Linux that Node runs on

export function cpuSecondsOf(pid: number): number {
  let seconds = ofProcess(pid);
  for (const child of childrenOf(pid)) seconds += cpuSecondsOf(child);
  return seconds;
}

/** utime + stime of the line of /proc/<pid>/stat; the name in it may hold spaces and parentheses. */
export function ticksOfStat(line: string): number {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** Resident memory in bytes. */
export function residentBytesOf(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return match === null ? 0 : Number(match[1]) * 1024;
}

function ofProcess(pid: number): number {
  let nanoseconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1');
      nanoseconds += Number(text.split(' ')[0]);
    }
  } catch {
    nanoseconds = 0; // no CONFIG_SCHEDSTATS, or a thread that just ended: the coarse figure then
  }
  if (nanoseconds > 0) return nanoseconds / 1e9;
  return ticksOfStat(readFileSync(`/proc/${pid}/stat`, 'latin1')) / TICKS_PER_SECOND;
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}
