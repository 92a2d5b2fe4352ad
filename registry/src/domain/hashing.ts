import type { Digest, DigestAlgorithm } from '@wharfie/shared';
import { hasher } from '@wharfie/shared';
import type { IHasher } from 'hash-wasm';
import { createSHA256, createSHA512 } from 'hash-wasm';
import type { ByteSource } from '../storage/storage-driver.js';

/**
 * What is known of the bytes of an upload so far: their digest, or the state of a hash that can go on. It travels in the
 * upload's Location, so that any instance can continue.
 */
export type KnownHash = { algorithm: DigestAlgorithm } & (
  { digest: string; state?: never } | { state: string; digest?: never }
);

/** A hash over bytes that pass. */
export interface RunningHash {
  update(chunk: Uint8Array): void;
  /** The digest of all that passed. Nothing can be added afterwards. */
  digest(): Digest;
  /** What the next request needs to know. */
  known(): KnownHash;
}

/** The fast one, of OpenSSL (1.9 GB/s where the other makes 0.4): its state stays in this process. */
export function fastHash(algorithm: DigestAlgorithm): RunningHash {
  const hash = hasher(algorithm);
  let hex: string | undefined;
  const end = (): string => (hex ??= hash.digest('hex'));
  return {
    update: (chunk) => void hash.update(chunk),
    digest: () => `${algorithm}:${end()}`,
    known: () => ({ algorithm, digest: end() }),
  };
}

/** The one whose state can be saved, for what comes in several requests. */
export async function resumableHash(algorithm: DigestAlgorithm, state?: string): Promise<RunningHash> {
  const hash: IHasher = await (algorithm === 'sha256' ? createSHA256() : createSHA512());
  if (state === undefined) hash.init();
  else hash.load(Buffer.from(state, 'base64url'));
  return {
    update: (chunk) => void hash.update(chunk),
    digest: () => `${algorithm}:${hash.digest('hex')}`,
    known: () => ({ algorithm, state: Buffer.from(hash.save()).toString('base64url') }),
  };
}

/** Passes bytes on and shows each to the hash. */
export async function* hashed(source: ByteSource, hash: RunningHash): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

/** Shows a hash all bytes of a source. */
export async function consume(source: ByteSource, hash: RunningHash): Promise<void> {
  for await (const chunk of source) hash.update(chunk);
}
