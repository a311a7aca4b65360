/**
 * `nightfill externals`: the external CDNs that take what no box can, as an operator types them.
 *
 * A region is written COUNTRIES:COMMIT:CAP, bits per second: "FR,BE:1e9:20e9", "*:0:5e9"; the first that names a country counts.
 */
import type { Command } from 'commander';
import type { ExternalCdn } from '../contract.ts';
import { OperatorClient, withOperatorOptions, type OperatorOptions } from './operator-client.ts';

interface AddOptions extends OperatorOptions {
  readonly name?: string;
  readonly url: string;
  readonly tokens: string;
  readonly cost: string;
  readonly budget?: string;
  readonly region: readonly string[];
}

export function addExternals(program: Command): void {
  const externals = program
    .command('externals')
    .description(
      'other CDNs, behind every box: overflow, regions without boxes, the last place of a list',
    );
  withOperatorOptions(externals.command('list'))
    .option('--json', 'the whole answer')
    .description('which are registered')
    .action(async (options: OperatorOptions & { readonly json?: true }) => {
      const list = await registered(options);
      if (options.json === true) console.log(JSON.stringify(list, null, 2));
      else if (list.length === 0) console.log('no external CDN is registered');
      else for (const external of list) console.log(externalLine(external));
    });
  withOperatorOptions(externals.command('add'))
    .argument('<id>', 'its pathway id')
    .requiredOption('--url <url>', 'scheme, host and port')
    .requiredOption('--cost <money>', 'a GB (10^9 bytes)')
    .requiredOption(
      '--region <countries:commit:cap>',
      'bits per second; may be repeated',
      collect,
      [],
    )
    .option('--name <text>', 'for people; default: the id')
    .option(
      '--tokens <adapter>',
      '"rfc9246": they hold our public key; "hmac": a key is shared',
      'rfc9246',
    )
    .option('--budget <money>', 'a UTC day, above the commit; default: none')
    .description('registers one, or changes it')
    .action(add);
  withOperatorOptions(externals.command('remove'))
    .argument('<id>')
    .description('sends nobody there any more')
    .action(async (id: string, options: OperatorOptions) => {
      await new OperatorClient(options).call('DELETE', `/v1/externals/${encodeURIComponent(id)}`);
      console.log(`${id} is removed: no new list names it`);
    });
}

async function add(id: string, options: AddOptions): Promise<void> {
  const external = {
    externalId: id,
    name: options.name ?? id,
    baseUrl: options.url.replace(/\/+$/, ''),
    tokens: options.tokens,
    costPerGb: amount(options.cost, '--cost'),
    regions: options.region.map(regionOfText),
    ...(options.budget === undefined ? {} : { budgetPerDay: amount(options.budget, '--budget') }),
  };
  const answer = (await new OperatorClient(options).call(
    'POST',
    '/v1/externals',
    external,
  )) as ExternalCdn;
  console.log(externalLine(answer));
  if (answer.tokens === 'hmac') {
    console.log(
      `its key goes into a file on each steering node (externalKeys: ${id}); without one nobody is sent there`,
    );
  }
}

async function registered(options: OperatorOptions): Promise<readonly ExternalCdn[]> {
  const answer = await new OperatorClient(options).call('GET', '/v1/externals');
  return (answer as { externals: readonly ExternalCdn[] }).externals;
}

export function regionOfText(text: string): ExternalCdn['regions'][number] {
  const [countries, commit, cap, ...rest] = text.split(':');
  if (cap === undefined || rest.length > 0) {
    throw new Error(`--region ${text}: write COUNTRIES:COMMIT:CAP, for example FR,BE:1e9:20e9`);
  }
  return {
    countries: countries.split(',').map((country) => country.trim()),
    commitBps: amount(commit, `--region ${text}`),
    capBps: amount(cap, `--region ${text}`),
  };
}

function amount(text: string, where: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || value < 0) {
    throw new Error(`${where}: "${text}" is no amount; a number of 0 or more is expected`);
  }
  return value;
}

function externalLine(external: ExternalCdn): string {
  const { externalId, name, baseUrl, tokens, costPerGb, budgetPerDay, regions } = external;
  const where = regions.map(
    ({ countries, commitBps, capBps }) =>
      `${countries.join(',')} ${gigabits(commitBps)} committed, ${gigabits(capBps)} at most`,
  );
  const budget = budgetPerDay === undefined ? '' : `, ${budgetPerDay} a day`;
  return `${externalId}  ${name}  ${baseUrl}  ${tokens}  ${costPerGb} a GB${budget}; ${where.join('; ')}`;
}

function gigabits(bps: number): string {
  return `${bps / 1e9} Gbit/s`;
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
