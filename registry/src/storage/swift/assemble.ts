import { PathNotFound, StorageUnavailable } from '../storage-driver.js';
import { pathOf, type SwiftClient } from './client.js';
import { bare, md5, slowMark, slowlyRead } from './large-object.js';
import type { Segment } from './listing.js';

const octets = { 'content-type': 'application/octet-stream' };

/** Has Swift copy a segment to `name`, if it still is the one with this etag. @throws PathNotFound when it is gone */
export async function copySegment(
  client: SwiftClient,
  { name: source, etag }: Segment,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const headers = {
    ...octets,
    'x-copy-from': pathOf(client.container, source),
    'x-fresh-metadata': 'true',
    'if-match': etag,
  };
  const answer = await client.send({ method: 'PUT', name, headers, accept: [201, 304, 404, 412] }, signal);
  if (answer.status === 404) throw new PathNotFound(source);
  if (answer.status !== 201 || bare(answer.header('etag')) !== etag)
    throw new StorageUnavailable(`${source} could not be copied (${answer.status})`);
}

/**
 * Makes a static large object of segments, which Swift checks by etag and size. Where a manifest cannot name them all, it
 * is one of large objects again.
 * @param limit how many a manifest names at most, and what the names of those in between begin with
 */
export async function putManifest(
  client: SwiftClient,
  name: string,
  segments: readonly Segment[],
  limit: { most: number; groups: string },
  signal: AbortSignal,
): Promise<Segment> {
  const entries: Segment[] = [];
  if (segments.length <= limit.most) entries.push(...segments);
  else {
    for (let start = 0; start < segments.length; start += limit.most) {
      const group = segments.slice(start, start + limit.most);
      const groupName = `${limit.groups}${String(start).padStart(8, '0')}`;
      entries.push(await putManifest(client, groupName, group, limit, signal));
    }
  }
  const list = entries.map((entry) => ({
    path: `/${client.container}/${entry.name}`,
    etag: entry.etag,
    size_bytes: entry.size,
  }));
  const query = { 'multipart-manifest': 'put' };
  const body = Buffer.from(JSON.stringify(list));
  const slow = slowlyRead(segments.map((segment) => segment.size));
  // A cluster without such objects would store the list itself, and refuses it for this.
  const etag = md5(Buffer.from(entries.map((entry) => entry.etag).join('')));
  const headers = { ...octets, etag, ...(slow ? { [slowMark]: 'yes' } : {}) };
  const answer = await client.send({ method: 'PUT', name, query, headers, body, accept: [201] }, signal);
  const size = entries.reduce((sum, entry) => sum + entry.size, 0);
  return { name, size, etag: bare(answer.header('etag')) };
}
