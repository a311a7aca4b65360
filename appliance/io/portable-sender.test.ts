import { HotChunks } from './hot-chunks.ts';
import { PortableSender } from './portable-sender.ts';
import { senderContract } from './sender-contract.ts';

senderContract(
  'portable, with hot chunks',
  (handle, limits) => new PortableSender(handle, limits, new HotChunks(64 * 1024 * 1024)),
);
senderContract(
  'portable, every read from disk',
  (handle, limits) => new PortableSender(handle, limits, new HotChunks(0)),
);
