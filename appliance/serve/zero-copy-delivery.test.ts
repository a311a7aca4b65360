import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FieldSet, type Answer } from './sender.ts';
import { judgeDelivery } from './zero-copy-delivery.ts';
import { headText } from './zero-copy-head.ts';

const LIMITS = { deliveryBytesPerSecondMin: 1000, deliveryGraceMs: 5000 };

test('a client is judged only after the grace, by its rate over the whole window', () => {
  assert.equal(judgeDelivery(100, 0, 5099, LIMITS), 'go-on');
  assert.equal(judgeDelivery(100, 0, 5100, LIMITS), 'cut');
  assert.equal(judgeDelivery(100, 4999, 5100, LIMITS), 'cut');
  assert.equal(judgeDelivery(100, 5000, 5100, LIMITS), 'new-window');
  assert.equal(judgeDelivery(100, 5000, 6100, LIMITS), 'cut', 'a late judgement asks for more');
});

test('a head is status, shared fields, own fields, length and date, in that order', () => {
  const answer: Answer = {
    status: 206,
    constant: new FieldSet(['ETag', '"x"']),
    varying: ['Content-Range', 'bytes 0-1/9', 'Age', '3'],
    contentLength: 2,
    body: null,
    isWithdrawn: () => false,
    sent: () => {},
    ended: () => {},
  };
  assert.equal(
    headText(answer, 'Fri, 20 Nov 2026 12:00:00 GMT', false),
    'HTTP/1.1 206 Partial Content\r\nETag: "x"\r\nContent-Range: bytes 0-1/9\r\nAge: 3\r\nContent-Length: 2\r\n' +
      'Date: Fri, 20 Nov 2026 12:00:00 GMT\r\n\r\n',
  );
  const empty = headText({ ...answer, status: 204, varying: [], contentLength: null }, 'D', true);
  assert.equal(
    empty,
    'HTTP/1.1 204 No Content\r\nETag: "x"\r\nConnection: close\r\nDate: D\r\n\r\n',
  );
});
