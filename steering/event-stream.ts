/**
 * Server-sent events, incrementally: bytes in any pieces -> the data of each event.
 *
 * Shape:      parser.push(bytes) -> data strings, in order
 * Errors:     'too-large' when one event grows past the limit: the connection must be dropped
 * Source:     WHATWG HTML 9.2.6; comment lines are keepalives and count as nothing
 */
import { StringDecoder } from 'node:string_decoder';

export class EventStreamParser {
  readonly #charactersMax: number;
  readonly #decoder = new StringDecoder('utf8');
  #line: string[] = []; // pieces of the unfinished line: joined once, a snapshot comes in many pieces
  #lineLength = 0;
  #data: string[] = [];
  #dataLength = 0;

  constructor(charactersMax: number) {
    this.#charactersMax = charactersMax;
  }

  push(bytes: Uint8Array): readonly string[] | 'too-large' {
    const text = this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    const events: string[] = [];
    let start = 0;
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
      this.#line.push(text.slice(start, end));
      const line = this.#line.join('');
      this.#line = [];
      this.#lineLength = 0;
      start = end + 1;
      const event = this.#take(line.endsWith('\r') ? line.slice(0, -1) : line);
      if (event !== null) events.push(event);
    }
    const rest = text.slice(start);
    this.#line.push(rest);
    this.#lineLength += rest.length;
    return this.#lineLength + this.#dataLength > this.#charactersMax ? 'too-large' : events;
  }

  #take(line: string): string | null {
    if (line === '') {
      if (this.#data.length === 0) return null;
      const event = this.#data.join('\n');
      this.#data = [];
      this.#dataLength = 0;
      return event;
    }
    if (line === 'data' || line.startsWith('data:')) {
      const value = line.slice('data:'.length);
      this.#data.push(value.startsWith(' ') ? value.slice(1) : value);
      this.#dataLength += value.length;
    }
    return null;
  }
}
