/**
 * What brings a box into the fleet and out of it, as an operator types it: `nightfill site`, `nightfill appliance invite | list | remove`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { messageOf } from '#base/outcome.ts';
import { formatDuration } from '#base/units.ts';
import type { Site } from '../contract.ts';
import type { ApplianceView, FleetView } from '../dashboard/fleet-view.ts';
import { OperatorClient, withOperatorOptions, type OperatorOptions } from './operator-client.ts';

const TOKEN_MODE = 0o600; // whoever has it may enrol as that box for a day

interface InviteOptions extends OperatorOptions {
  readonly site: string;
  readonly cluster: string;
  readonly out?: string;
}

export function addSiteCommands(program: Command): void {
  const site = program.command('site').description('where boxes stand, and whom they serve');
  withOperatorOptions(site.command('add'))
    .argument('<file>', 'JSON: one site as control-plane/contract.ts describes it, or a list')
    .description('adds sites or changes them; the same again changes nothing')
    .action(async (file: string, options: OperatorOptions) => {
      const client = new OperatorClient(options);
      for (const offered of sitesOf(file)) {
        const taken = (await client.call('POST', '/v1/sites', offered)) as { siteId: string };
        console.log(`site ${taken.siteId} is as ${file} says`);
      }
    });
  withOperatorOptions(site.command('list'))
    .option('--json', 'as "site add" reads them')
    .description('every site with its clusters, prefixes and fill window')
    .action(async (options: OperatorOptions & { readonly json?: true }) => {
      const answer = await new OperatorClient(options).call('GET', '/v1/sites');
      const { sites } = answer as { sites: readonly Site[] };
      if (options.json === true) console.log(JSON.stringify(sites, null, 2));
      else for (const line of sites.map(siteLine)) console.log(line);
    });
}

export function addEnrolmentCommands(appliance: Command): void {
  withOperatorOptions(appliance.command('invite'))
    .argument('<id>', 'of the box that is to come')
    .requiredOption('--site <id>', 'where it will stand')
    .requiredOption('--cluster <id>', 'of that site')
    .option('--out <file>', 'where to write the token, mode 0600, never over another file')
    .description('makes the enrolment token of one box, good for a day')
    .action(invite);
  withOperatorOptions(appliance.command('list'))
    .option('--json', 'the whole fleet view')
    .description('every box: how it stands and why, what it serves, how full it is')
    .action(async (options: OperatorOptions & { readonly json?: true }) => {
      const view = (await new OperatorClient(options).call('GET', '/v1/fleet/view')) as FleetView;
      console.log(
        options.json === true ? JSON.stringify(view, null, 2) : fleetLines(view).join('\n'),
      );
    });
  withOperatorOptions(appliance.command('remove'))
    .argument('<id>', 'of the appliance')
    .description('the box leaves the fleet: its tokens end, and its name may be invited again')
    .action(async (id: string, options: OperatorOptions) => {
      await new OperatorClient(options).call('DELETE', `/v1/appliances/${encodeURIComponent(id)}`);
      console.log(`${id} is out of the fleet: no new viewer is sent there`);
    });
}

async function invite(applianceId: string, options: InviteOptions): Promise<void> {
  const { token, expiresAtMs } = (await new OperatorClient(options).call(
    'POST',
    '/v1/enrolment-tokens',
    { applianceId, siteId: options.site, clusterId: options.cluster },
  )) as { token: string; expiresAtMs: number };
  if (options.out === undefined) {
    console.log(token);
    return;
  }
  try {
    writeFileSync(options.out, `${token}\n`, { mode: TOKEN_MODE, flag: 'wx' });
  } catch (thrown) {
    throw new Error(
      `the token could not be written to ${options.out}: ${messageOf(thrown)}; it is not used up, but lost: ` +
        'invite again with another file, or without --out to print it',
      { cause: thrown },
    );
  }
  console.log(
    `${options.out}: enrols ${applianceId} at ${options.site}/${options.cluster}, until ${new Date(expiresAtMs).toISOString()}; ` +
      'name it as "enrolmentTokenFile" in the box’s configuration',
  );
}

/** Throws where the file is no JSON; what is in it is the control plane's to judge. */
function sitesOf(file: string): readonly unknown[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (thrown) {
    throw new Error(`${file}: ${messageOf(thrown)}`, { cause: thrown });
  }
  return Array.isArray(parsed) ? parsed : [parsed];
}

function siteLine({ siteId, name, country, clusters, fillWindow }: Site): string {
  const { startLocal, hours, timeZone } = fillWindow;
  const parts = clusters.map(({ clusterId, prefixes, linkClass }) =>
    [clusterId, linkClass ?? 'embedded', `${prefixes.length} prefixes`].join(' '),
  );
  return `${siteId}  ${name}, ${country}; fills from ${startLocal} for ${hours} h, ${timeZone}; ${parts.join('; ')}`;
}

/** One line a box, sites in order; what is unknown says so. */
export function fleetLines({ sites, atMs }: FleetView): readonly string[] {
  const lines = [`fleet at ${new Date(atMs).toISOString()}`];
  for (const { siteId, appliances } of sites) {
    if (appliances.length === 0) lines.push(`${siteId}  no box yet`);
    for (const box of appliances) lines.push(`${siteId}  ${applianceLine(box, atMs)}`);
  }
  return lines;
}

function applianceLine(box: ApplianceView, atMs: number): string {
  const { applianceId, standing, reasons, sinceMs, heartbeat, heartbeatAgeMs, viewerBps } = box;
  const why = reasons.length === 0 ? '' : ` (${reasons.join('; ')})`;
  const parts = [
    `${applianceId}  ${standing}${why} for ${formatDuration(Math.max(0, atMs - sinceMs))}`,
  ];
  if (heartbeat === null || heartbeatAgeMs === null) {
    parts.push('no heartbeat since the control plane started');
  } else {
    const { filesHeld, filesWanted } = heartbeat.fill;
    parts.push(
      `serves ${(viewerBps / 1e6).toFixed(1)} Mbit/s`,
      `holds ${filesHeld} of ${filesWanted} files`,
      `heard ${formatDuration(heartbeatAgeMs)} ago`,
    );
  }
  return parts.join(', ');
}
