/**
 * A takedown in words: what was asked for, and what each box did about it.
 */
import type { DenialView } from './denials.ts';

type DenialSummary = Omit<DenialView, 'boxes'>;

export function denialLines(denial: DenialView): readonly string[] {
  const boxes = [...denial.boxes].sort((a, b) => (a.applianceId < b.applianceId ? -1 : 1));
  return [
    denialLine(denial),
    ...boxes.map((box) => {
      const acknowledged =
        box.acknowledgedAtMs === null
          ? ''
          : `, stopped serving ${secondsAfter(denial.sinceMs, box.acknowledgedAtMs)}`;
      const deleted =
        box.deletedAtMs === null
          ? ''
          : `, ${box.files} files and ${box.bytes} bytes deleted ${secondsAfter(denial.sinceMs, box.deletedAtMs)}`;
      const todo = box.status === 'unreachable' ? ' (gets the list when it connects again)' : '';
      return `  ${box.applianceId.padEnd(20)} ${box.status}${acknowledged}${deleted}${todo}`;
    }),
  ];
}

export function denialLine(denial: DenialSummary): string {
  const { deleted, acknowledged, waiting, unreachable } = denial.summary;
  const lifted =
    denial.liftedAtMs === null
      ? 'in force'
      : `lifted ${isoOf(denial.liftedAtMs)} by ${denial.liftedBy}`;
  return (
    `${denial.id}  ${denial.kind} ${denial.value}  since ${isoOf(denial.sinceMs)} by ${denial.who}: ${denial.reason}  [${lifted}]  ` +
    `boxes: ${deleted} deleted, ${acknowledged} stopped, ${waiting} not yet, ${unreachable} unreachable`
  );
}

function secondsAfter(fromMs: number, atMs: number): string {
  return `after ${((atMs - fromMs) / 1000).toFixed(2)} s`;
}

function isoOf(atMs: number): string {
  return new Date(atMs).toISOString();
}
