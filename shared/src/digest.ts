import { hash } from 'node:crypto';

/** The algorithms of https://github.com/opencontainers/image-spec/blob/main/descriptor.md#registered-algorithms, with the length of their hex. */
const hexLength = { sha256: 64, sha512: 128 } as const;

export type DigestAlgorithm = keyof typeof hexLength;

export const digestAlgorithms = Object.keys(hexLength) as [DigestAlgorithm, ...DigestAlgorithm[]];

/** `algorithm:hex`, checked. */
export type Digest = `${DigestAlgorithm}:${string}`;

/** Whether blobs may be named by this algorithm here. */
export function isDigestAlgorithm(text: string): text is DigestAlgorithm {
  return Object.hasOwn(hexLength, text);
}

/** The digest that `text` is, or undefined when the algorithm is unknown or the hex is not lower case and of the right length. */
export function parseDigest(text: string): Digest | undefined {
  const [algorithm = '', hex = '', ...rest] = text.split(':');
  if (rest.length > 0 || !isDigestAlgorithm(algorithm)) return undefined;
  return hex.length === hexLength[algorithm] && /^[0-9a-f]+$/.test(hex) ? `${algorithm}:${hex}` : undefined;
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** What follows the algorithm. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** The digest that names these bytes. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes)}`;
}
