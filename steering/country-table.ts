/**
 * The country of an address that is in nobody's prefix, from a MaxMind database: a fallback, never against a prefix.
 *
 * Shape:      openCountryTable(bytes) -> table; table.look(address) -> country or null, and the bits within which that holds
 * Errors:     openCountryTable throws where the bytes are no such database; a look-up never does
 */
import { Reader, type CountryResponse } from 'mmdb-lib';
import { formatAddress, parseAddress } from '#base/address.ts';
import type { PlayRequest } from './contract.ts';
import type { Fleet } from './fleet.ts';
import { homeOf, lookUp } from './place.ts';

const COUNTRY = /^[A-Z]{2}$/;

export interface CountryTable {
  look(address: Uint8Array): { readonly country: string | null; readonly bits: number };
}

export function openCountryTable(bytes: Buffer): CountryTable {
  const reader = new Reader<CountryResponse>(bytes);
  return {
    look(address) {
      const [record, bits] = reader.getWithPrefixLength(formatAddress(address));
      const code = record?.country?.iso_code ?? record?.registered_country?.iso_code ?? '';
      return { country: COUNTRY.test(code) ? code : null, bits };
    },
  };
}

/** The request with the country of its client, where neither playback nor a prefix tells one. */
export function withCountry(
  fleet: Fleet,
  request: PlayRequest,
  countries: CountryTable | null,
): PlayRequest {
  if (countries === null || request.country !== undefined) return request;
  const address = parseAddress(request.clientAddress);
  if (address === null) return request;
  if (homeOf(fleet.prefixes, lookUp(fleet.prefixes, address)) !== null) return request;
  const { country } = countries.look(address);
  return country === null ? request : { ...request, country };
}
