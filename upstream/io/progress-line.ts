/**
 * Progress for a person: one line that is rewritten at a terminal, a line at each tenth elsewhere.
 */
import type { Writable } from 'node:stream';
import type { PublishProgress } from './publishing.ts';

const BAR_CELLS = 30;

export class ProgressLine {
  readonly #out: Writable & { readonly isTTY?: boolean };
  #shown = '';
  #isOpen = false;

  constructor(out: Writable & { readonly isTTY?: boolean }) {
    this.#out = out;
  }

  show(step: PublishProgress): void {
    const line = textOf(step, this.#out.isTTY === true);
    if (line === this.#shown) return;
    this.#shown = line;
    if (this.#out.isTTY === true) {
      this.#out.write(`\r\u001b[K${line}`);
      this.#isOpen = true;
    } else {
      this.#out.write(`${line}\n`);
    }
  }

  /** Leaves the line at a terminal, so that what follows starts on its own. */
  end(): void {
    if (this.#isOpen) this.#out.write('\n');
    this.#isOpen = false;
  }
}

function textOf(step: PublishProgress, isTerminal: boolean): string {
  switch (step.step) {
    case 'encoding':
      return shareText('encoding', step.doneSeconds, step.totalSeconds, isTerminal);
    case 'title':
      return shareText('publishing titles', step.done, step.total, isTerminal);
    case 'storing':
      return `storing ${step.titleId}`;
    case 'announcing':
      return `announcing ${step.titleId}`;
  }
}

function shareText(what: string, done: number, total: number, isTerminal: boolean): string {
  const share = total > 0 ? Math.min(1, Math.max(0, done / total)) : 0;
  const percent = Math.floor(share * 100);
  if (!isTerminal) return `${what} ${Math.floor(percent / 10) * 10} %`;
  const cells = Math.round(share * BAR_CELLS);
  return `${what} [${'#'.repeat(cells)}${'.'.repeat(BAR_CELLS - cells)}] ${percent} %`;
}
