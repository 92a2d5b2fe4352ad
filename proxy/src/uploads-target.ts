import { covers, everything, repositoryAccess, type Identity, type Route } from '@wharfie/shared';

/**
 * What the registry is asked where an upload begins: what was understood and allowed, and nothing that another parser could
 * find in what the client wrote. A registry that is not ours checks no identity, so a mount that may not be is left out here.
 */
export function uploadsTarget(
  { repository, mount, digest, algorithm }: Route<'uploads'>,
  { access }: Identity,
): string {
  const query = new URLSearchParams();
  if (mount && covers(access, repositoryAccess(mount.from ?? everything, 'pull'))) {
    query.set('mount', mount.digest);
    if (mount.from !== undefined) query.set('from', mount.from);
  }
  if (digest) query.set('digest', digest);
  if (algorithm !== undefined) query.set('digest-algorithm', algorithm);
  const path = `/v2/${repository}/blobs/uploads/`;
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}
