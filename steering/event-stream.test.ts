import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { EventStreamParser } from './event-stream.ts';

fc.configureGlobal({ seed: 20_261_120 });

test('events come out whole however the bytes are cut', () => {
  const text =
    ': keepalive\n\ndata: één\n\nevent: x\r\nid: 4\r\ndata: a\r\ndata:b\r\n\r\nretry: 5\n\ndata\n\n';
  const bytes = Buffer.from(text);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 100 }), (sizes) => {
      const parser = new EventStreamParser(1000);
      const events: string[] = [];
      let at = 0;
      for (const size of sizes) {
        const found = parser.push(bytes.subarray(at, at + size));
        assert.ok(found !== 'too-large');
        events.push(...found);
        at += size;
      }
      assert.deepEqual(events, ['één', 'a\nb', '']);
    }),
  );
});

test('an event past the limit is refused, in one line or in many', () => {
  const one = new EventStreamParser(100);
  assert.equal(one.push(Buffer.from(`data: ${'x'.repeat(200)}`)), 'too-large');
  const many = new EventStreamParser(100);
  assert.equal(many.push(Buffer.from(`data: ${'x'.repeat(30)}\n`.repeat(5))), 'too-large');
});
