/**
 * The policies that the command line knows. A new one is one file in policies/ and one line here.
 */
import { createArc } from './policies/arc.ts';
import { createBelady } from './policies/belady.ts';
import { createClock } from './policies/clock.ts';
import { createFifo } from './policies/fifo.ts';
import { createGdsf } from './policies/gdsf.ts';
import { createLfu } from './policies/lfu.ts';
import { createLru } from './policies/lru.ts';
import { createNightfill } from './policies/nightfill.ts';
import { createS3Fifo } from './policies/s3-fifo.ts';
import { createSieve } from './policies/sieve.ts';
import type { PolicyFactory } from './policy.ts';

export const POLICIES: Readonly<Record<string, PolicyFactory>> = {
  lru: createLru,
  fifo: createFifo,
  clock: createClock,
  lfu: createLfu,
  sieve: createSieve,
  's3-fifo': createS3Fifo,
  arc: createArc,
  gdsf: createGdsf,
  belady: createBelady,
  nightfill: createNightfill,
};
