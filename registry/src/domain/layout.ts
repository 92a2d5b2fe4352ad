import type { Digest, DigestAlgorithm } from '@wharfie/shared';
import { algorithmOf, hexOf, parseDigest } from '@wharfie/shared';
import type { SmallObject, StorageDriver } from '../storage/storage-driver.js';
import { missingAs } from '../storage/storage-driver.js';

/*
 * Where everything lies. The tree is that of distribution 2.x, which reads what we write and writes what we read; the
 * entries marked * are ours alone, and it passes them by.
 *
 *   docker/registry/v2/
 *     blobs/<algorithm>/<first two hex>/<hex>/data             the bytes of a blob or a manifest
 *     repositories/<name>/
 *       _layers/<algorithm>/<hex>/link                         the blob can be pulled from this repository
 *       _manifests/revisions/<algorithm>/<hex>/link            the manifest can be
 *       _manifests/tags/<tag>/current/link                     the manifest that the tag names now
 *       _manifests/tags/<tag>/index/<algorithm>/<hex>/link     a manifest that it named at some time
 *     * _referrers/<algorithm>/<hex>/<digest of the referrer>  its descriptor: one object a referrer
 *
 * A link holds a digest as text, without a newline. What is being uploaded is the driver's business.
 */
const blobs = 'docker/registry/v2/blobs';

export const repositoriesPath = 'docker/registry/v2/repositories';

export function blobPath(digest: Digest): string {
  const hex = hexOf(digest);
  return `${blobs}/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}/data`;
}

export function layerLinkPath(repository: string, digest: Digest): string {
  return `${repositoryPath(repository)}/_layers/${folder(digest)}/link`;
}

export function revisionPath(repository: string, digest: Digest): string {
  return `${manifestsPath(repository)}/revisions/${folder(digest)}`;
}

export function revisionLinkPath(repository: string, digest: Digest): string {
  return `${revisionPath(repository, digest)}/link`;
}

/** What makes a folder a repository. Blobs alone do not: a push that was given up is not listed. */
export function manifestsPath(repository: string): string {
  return `${repositoryPath(repository)}/_manifests`;
}

export function tagsPath(repository: string): string {
  return `${manifestsPath(repository)}/tags`;
}

export function tagPath(repository: string, tag: string): string {
  return `${tagsPath(repository)}/${tag}`;
}

export function tagLinkPath(repository: string, tag: string): string {
  return `${tagPath(repository, tag)}/current/link`;
}

function tagIndexLinkPath(repository: string, tag: string, digest: Digest): string {
  return `${tagPath(repository, tag)}/index/${folder(digest)}/link`;
}

export function referrersPath(repository: string, subject: Digest): string {
  return `${repositoryPath(repository)}/_referrers/${folder(subject)}`;
}

export function referrerPath(repository: string, subject: Digest, referrer: Digest): string {
  return `${referrersPath(repository, subject)}/${referrer}`;
}

/** The tag under which clients keep a list of referrers where a registry has none. */
export function referrersTag(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`;
}

/** What lets a blob be pulled from a repository: under another digest than that of its bytes, where distribution made it so. */
export function layerLink(repository: string, digest: Digest, stored = digest): SmallObject {
  return link(layerLinkPath(repository, digest), stored);
}

/** What lets a manifest be pulled from a repository. */
export function revisionLink(repository: string, digest: Digest): SmallObject {
  return link(revisionLinkPath(repository, digest), digest);
}

/** What has a tag name a manifest, which must be in the repository. */
export function tagLinks(repository: string, tag: string, digest: Digest): SmallObject[] {
  return [tagLinkPath(repository, tag), tagIndexLinkPath(repository, tag, digest)].map((path) => link(path, digest));
}

/** The digest that the link at `path` holds, or undefined when there is none, or it holds something else. */
export async function readLink(storage: StorageDriver, path: string, signal: AbortSignal): Promise<Digest | undefined> {
  const content = await storage.get(path, signal).catch(missingAs(undefined));
  return content && parseLink(content);
}

/** Whether a repository has a manifest, as far as any copy of the link tells. */
export function hasManifest(
  storage: StorageDriver,
  repository: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  return storage.stat(revisionLinkPath(repository, digest), signal).then(() => true, missingAs(false));
}

/** The digest that a link holds, or undefined when it holds something else. */
export function parseLink(content: Buffer): Digest | undefined {
  return parseDigest(content.toString('latin1').trim());
}

function link(path: string, digest: Digest): SmallObject {
  return { path, content: Buffer.from(digest, 'latin1') };
}

function repositoryPath(repository: string): string {
  return `${repositoriesPath}/${repository}`;
}

function folder(digest: Digest): `${DigestAlgorithm}/${string}` {
  return `${algorithmOf(digest)}/${hexOf(digest)}`;
}
