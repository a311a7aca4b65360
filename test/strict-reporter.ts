/**
 * A second reporter for node:test: it prints nothing while all is well, and under CI=true it fails the run on
 * any skipped or todo test and on zero tests, which the runner by itself lets pass.
 */
import type { TestEvent } from 'node:test/reporters';

export default async function* strictReporter(
  source: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  const strict = process.env['CI'] === 'true';
  let ran = 0;
  const notRun: string[] = [];
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    if (event.data.details.type === 'suite') continue;
    const { skip, todo, name, file } = event.data;
    const isSkipped = skip !== undefined && skip !== false;
    const isTodo = todo !== undefined && todo !== false;
    if (isSkipped || isTodo) {
      const why = typeof skip === 'string' ? skip : typeof todo === 'string' ? todo : 'no reason';
      notRun.push(`${file ?? ''}: ${name} (${isSkipped ? 'skipped' : 'todo'}: ${why})`);
    } else {
      ran++;
    }
  }
  for (const line of notRun) yield `not run: ${line}\n`;
  if (ran === 0) yield 'no test ran\n';
  if (strict && (notRun.length > 0 || ran === 0)) {
    yield 'CI=true: a skipped, todo or missing test fails the run\n';
    process.exitCode = 1;
  }
}
