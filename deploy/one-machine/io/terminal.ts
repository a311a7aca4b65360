/**
 * What a person sees while the CDN comes up: lines, and a bar where something takes a while.
 *
 * On a terminal the bar is redrawn in place; elsewhere it becomes a line at each tenth.
 */
import { formatBytes } from '#base/units.ts';
import type { Progress } from '../one-machine.ts';

const BAR_WIDTH = 30;

export function terminalProgress(options: { plain?: boolean } = {}): Progress {
  const output = options.plain === true ? process.stderr : process.stdout;
  const inPlace = options.plain !== true && output.isTTY;
  let barIsDrawn = false;
  let tenthSaid = -1;
  return {
    say(line) {
      if (barIsDrawn) output.write('\n');
      barIsDrawn = false;
      output.write(`${line}\n`);
    },
    bar(what, done, total, unit) {
      const share = total === 0 ? 0 : Math.min(1, done / total);
      const amount =
        unit === 'bytes' ? `${formatBytes(done)} of ${formatBytes(total)}` : `${done} of ${total}`;
      if (inPlace) {
        const filled = Math.round(share * BAR_WIDTH);
        const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`;
        output.write(`\r\x1b[K${what} ${bar} ${Math.floor(share * 100)} %  ${amount}`);
        barIsDrawn = true;
        return;
      }
      const tenth = Math.floor(share * 10);
      if (tenth === tenthSaid || total === 0) return;
      tenthSaid = tenth;
      output.write(`${what} ${tenth * 10} %  ${amount}\n`);
    },
  };
}
