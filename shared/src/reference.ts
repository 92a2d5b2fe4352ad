import type { Digest } from './digest.js';
import { parseDigest } from './digest.js';

/** What a manifest is asked for by. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
export type Reference = { tag: string; digest?: never } | { digest: Digest; tag?: never };

/** Whether `text` may be a tag: of at most 128 characters. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
export function isTag(text: string): boolean {
  return /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/.test(text);
}

/** The tag or the digest that `text` is, or undefined when it is neither. */
export function parseReference(text: string): Reference | undefined {
  if (isTag(text)) return { tag: text };
  const digest = parseDigest(text);
  return digest && { digest };
}
