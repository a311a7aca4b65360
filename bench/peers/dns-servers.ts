/**
 * gdnsd and PowerDNS as yardsticks: Debian's packages, one UDP thread each, the zone of the bench by their own means.
 *
 * gdnsd answers from its geoip plugin's `nets`, PowerDNS from the network services of its geoip backend. Neither limits rates.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { addressesOf, NAME, networks, SITES, TTL_SECONDS, ZONE } from '../load/dns-zone.ts';

export interface DnsServerCommand {
  readonly argv: readonly string[];
  readonly isReady: (output: string) => boolean;
}

export function whyMissing(command: string, debianPackage: string): string | null {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0
    ? null
    : `${command} is missing: apt-get install --no-install-recommends ${debianPackage}`;
}

const sites = (): readonly number[] => Array.from({ length: SITES }, (_, site) => site);

export function gdnsd(directory: string, address: string, port: number): DnsServerCommand {
  mkdirSync(path.join(directory, 'zones'), { recursive: true });
  mkdirSync(path.join(directory, 'run'), { recursive: true });
  mkdirSync(path.join(directory, 'state'), { recursive: true });
  const nets = networks().map(({ prefix, site }) => `        ${prefix} => [ dc${site} ]`);
  const dcmap = sites().map((site) => {
    const [one, two] = addressesOf(site);
    return `          dc${site} => { a => ${one}, b => ${two} }`;
  });
  writeFileSync(
    path.join(directory, 'config'),
    `options => {
  listen => ${address}:${port}
  udp_threads => 1
  tcp_threads => 1
  zones_default_ttl => ${TTL_SECONDS}
  run_dir => ${path.join(directory, 'run')}
  state_dir => ${path.join(directory, 'state')}
}
plugins => {
  geoip => {
    maps => {
      m => {
        datacenters => [ ${sites()
          .map((site) => `dc${site}`)
          .join(', ')} ]
        nets => {
${nets.join('\n')}
        }
      }
    }
    resources => {
      v => {
        map => m
        service_types => up
        dcmap => {
${dcmap.join('\n')}
        }
      }
    }
  }
}
`,
  );
  writeFileSync(
    path.join(directory, 'zones', ZONE),
    `@ 3600 SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 198.18.255.3\nv ${TTL_SECONDS} DYNA geoip!v\n`,
  );
  return {
    argv: ['gdnsd', '-c', directory, 'start'],
    isReady: (output) =>
      /DNS listeners started|Loaded zones?|daemon.*(ready|started)/i.test(output),
  };
}

export function powerDns(directory: string, address: string, port: number): DnsServerCommand {
  mkdirSync(directory, { recursive: true });
  const records = sites().map(
    (site) =>
      `    dc${site}.${ZONE}:\n${addressesOf(site)
        .map((one) => `      - a: ${one}\n`)
        .join('')}`,
  );
  const services = networks().map(({ prefix, site }) => `      ${prefix}: dc${site}.${ZONE}`);
  const zoneFile = path.join(directory, 'zone.yaml');
  writeFileSync(
    zoneFile,
    `domains:
- domain: ${ZONE}
  ttl: ${TTL_SECONDS}
  records:
    ${ZONE}:
      - soa: ns1.${ZONE} hostmaster.${ZONE} 1 3600 600 86400 30
      - ns: ns1.${ZONE}
    ns1.${ZONE}:
      - a: 198.18.255.3
${records.join('')}  services:
    ${NAME}:
      default: [ dc0.${ZONE} ]
${services.join('\n')}
`,
  );
  writeFileSync(
    path.join(directory, 'pdns.conf'),
    `launch=geoip
geoip-zones-file=${zoneFile}
geoip-database-files=
edns-subnet-processing=yes
local-address=${address}
local-port=${port}
receiver-threads=1
distributor-threads=1
socket-dir=${directory}
zone-cache-refresh-interval=0
version-string=anonymous
disable-syslog=yes
write-pid=no
loglevel=4
`,
  );
  return {
    argv: ['pdns_server', `--config-dir=${directory}`],
    isReady: (output) => output.includes('operating unthreaded'),
  };
}
