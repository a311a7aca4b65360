/**
 * `nightfill simulate calibrate --data DIR`: the workload generator beside the tables that it was calibrated on.
 */
import type { Command } from 'commander';
import { readCalibrationTables } from './io/calibration-tables.ts';
import { calibrationOf } from './workload/calibration.ts';

export function addCalibrateCommand(simulate: Command): void {
  simulate
    .command('calibrate')
    .description('how far the workload generator is from the tables it was calibrated on')
    .requiredOption('--data <dir>', 'the shared tables: netflix/ and diurnal/')
    .option('--json', 'one JSON object on the last line')
    .action(({ data, json }: { data: string; json?: true }) => {
      const tables = readCalibrationTables(data);
      const { rows, problems } = calibrationOf(tables.tables);
      for (const row of rows) {
        const off =
          row.measured === 0 ? '' : `${((row.generated / row.measured - 1) * 100).toFixed(1)} %`;
        const figures = [row.measured, row.generated].map((value) =>
          value.toPrecision(3).padStart(9),
        );
        process.stdout.write(
          `${row.table.padEnd(20)}${row.what.padEnd(42)}${figures.join('')}${off.padStart(10)}\n`,
        );
      }
      for (const problem of [...tables.problems, ...problems]) process.stderr.write(`${problem}\n`);
      if (rows.length === 0) process.exitCode = 1;
      if (json === true) process.stdout.write(`${JSON.stringify({ calibrate: rows })}\n`);
    });
}
