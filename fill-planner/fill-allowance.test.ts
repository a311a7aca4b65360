import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillAllowance } from './fill-allowance.ts';

const hourly = (capOf: (hour: number) => number | null): readonly (number | null)[] =>
  Array.from({ length: 24 }, (_, hour) => capOf(hour));

test('a window without caps is its rate times its hours', () => {
  const window = { startLocal: '02:00', hours: 12 };
  assert.equal(fillAllowance(1.2e9, window, null), 6.48e12);
  assert.equal(
    fillAllowance(
      1.2e9,
      window,
      hourly(() => null),
    ),
    6.48e12,
  );
  assert.equal(
    fillAllowance(
      1.2e9,
      window,
      hourly(() => 5e9),
    ),
    6.48e12,
    'a cap never raises it',
  );
});

test('caps count in the hours of the window only, over midnight and by the minute', () => {
  const window = { startLocal: '22:30', hours: 5 };
  const caps = hourly((hour) => (hour === 23 ? 400e6 : hour === 2 ? 0 : hour === 12 ? 0 : null));
  // 22:30 30 min at 800, 23:00 an hour at 400, 00:00 and 01:00 at 800, 02:00 nothing, 03:00 half an hour at 800
  const expected = (800e6 / 8) * 3600 * (0.5 + 0.5 + 2 + 0 + 0.5);
  assert.equal(fillAllowance(800e6, window, caps), expected);
});
