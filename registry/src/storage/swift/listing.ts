import { jsonOf, type SwiftClient } from './client.js';

/** An object that is the whole or a part of a larger one. */
export interface Segment {
  name: string;
  size: number;
  etag: string;
}

/** A line of a listing: an object, or with a delimiter a folder, which has only a name, that ends with `/`. */
export interface Entry extends Segment {
  /** In milliseconds since 1970; 0 for a folder. */
  modified: number;
}

/** What one request lists at most. Swift refuses more than its own limit, which is 10,000 unless somebody lowered it. */
const pageSize = 1000;
/** No cluster's own limit is lower: a page that is shorter, and shorter than asked for, is the last one. */
const least = 100;

interface Query {
  prefix: string;
  delimiter?: '/';
  /** Only what comes after it. */
  marker?: string | undefined;
  limit?: number;
  container?: string;
  newest?: boolean;
}

/** One page, in Swift's order: by name, byte by byte, the `/` at a folder's end included. */
async function listPage(client: SwiftClient, query: Query, signal: AbortSignal): Promise<Entry[]> {
  const { prefix, delimiter, marker, limit = pageSize, container, newest = false } = query;
  const answer = await client.call(
    {
      method: 'GET',
      container,
      query: {
        format: 'json',
        prefix,
        limit: String(limit),
        ...(delimiter && { delimiter }),
        ...(marker && { marker }),
      },
      newest,
      accept: [200, 204],
    },
    signal,
  );
  if (answer.status === 204) {
    await answer.body.dump();
    return [];
  }
  const lines = (await jsonOf(answer)) as {
    name?: string;
    subdir?: string;
    bytes?: number;
    hash?: string;
    last_modified?: string;
  }[];
  return lines.map(({ name, subdir, bytes = 0, hash = '', last_modified: modified }) => ({
    name: name ?? subdir ?? '',
    size: bytes,
    etag: hash,
    modified: modified === undefined ? 0 : Date.parse(`${modified}Z`),
  }));
}

/** Everything below a prefix. */
export async function* listAll(
  client: SwiftClient,
  query: { prefix: string; container?: string; newest?: boolean },
  signal: AbortSignal,
): AsyncGenerator<Entry> {
  for (let marker: string | undefined; ;) {
    const page = await listPage(client, { ...query, marker }, signal);
    yield* page;
    marker = page.at(-1)?.name;
    if (marker === undefined || page.length < least) return;
  }
}

/** The names of everything below a prefix, after the newest copy of the listing. */
export async function namesBelow(client: SwiftClient, prefix: string, signal: AbortSignal): Promise<string[]> {
  const names = [];
  for await (const { name } of listAll(client, { prefix, newest: true }, signal)) names.push(name);
  return names;
}

/**
 * The names directly below `folder` (which ends with `/`), those after `after`, in byte order, at most `limit`.
 *
 * Swift sorts a folder as `v1/`, behind `v1-rc/` and `v1.0/`; we promise `v1` before them. So a window of its listing may
 * lack names that belong into it: those whose folder comes after the window's last entry, although they are shorter. Each
 * of them is a beginning of that last entry's name, up to a character below `/`: a handful, which is asked for by name.
 */
export async function listNames(
  client: SwiftClient,
  folder: string,
  after: string,
  limit: number,
  signal: AbortSignal,
): Promise<string[]> {
  const found = new Set<string>();
  let last = `${folder}${after}`;
  let complete = false;
  while (found.size < limit && !complete) {
    const wanted = Math.min(limit - found.size + 1, pageSize);
    const marker = last === folder ? undefined : last;
    const page = await listPage(client, { prefix: folder, delimiter: '/', limit: wanted, marker }, signal);
    for (const { name } of page) {
      const child = nameOf(name, folder);
      if (child !== '' && isAfter(child, after)) found.add(child);
    }
    complete = page.length < Math.min(wanted, least);
    last = page.at(-1)?.name ?? last;
  }
  if (!complete) {
    const hidden = beginnings(nameOf(last, folder)).filter((name) => isAfter(name, after) && !found.has(name));
    const exist = await Promise.all(
      hidden.map(
        async (name) => (await listPage(client, { prefix: `${folder}${name}/`, limit: 1 }, signal)).length > 0,
      ),
    );
    hidden.forEach((name, index) => exist[index] && found.add(name));
  }
  return [...found].sort((a, b) => (isAfter(a, b) ? 1 : -1)).slice(0, limit);
}

function nameOf(entry: string, folder: string): string {
  return entry.slice(folder.length).replace(/\/$/, '');
}

/** The beginnings of a name whose folders Swift lists after it. */
function beginnings(name: string): string[] {
  return Array.from(name.matchAll(/[!-.]/g), ({ index }) => name.slice(0, index)).filter(
    (beginning) => beginning !== '',
  );
}

function isAfter(a: string, b: string): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) > 0;
}
