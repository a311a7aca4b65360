/**
 * A progress bar on a terminal; nothing where the output is no terminal.
 */
const WIDTH = 30;

export class TerminalBar {
  readonly #stream: NodeJS.WriteStream;
  #shown = '';

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  show(share: number, what: string): void {
    if (!this.#stream.isTTY) return;
    const full = Math.round(Math.min(1, Math.max(0, share)) * WIDTH);
    const line = `${'#'.repeat(full)}${'.'.repeat(WIDTH - full)} ${Math.round(share * 100)} % ${what}`;
    if (line === this.#shown) return;
    this.#shown = line;
    this.#stream.write(`\r${line}\u001b[K`);
  }

  end(): void {
    if (this.#shown !== '') this.#stream.write('\r\u001b[K');
    this.#shown = '';
  }
}
