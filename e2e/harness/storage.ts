import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Blobs of a storage folder whose bytes do not hash to their name; fails when there are no blobs at all. */
export async function wrongBlobs(root: string): Promise<string[]> {
  const blobs = join(root, 'docker', 'registry', 'v2', 'blobs', 'sha256');
  const files = (await readdir(blobs, { recursive: true })).filter((name) => basename(name) === 'data');
  if (files.length === 0) throw new Error(`there are no blobs below ${blobs}`);
  const wrong = [];
  for (const file of files) {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(join(blobs, file)) as AsyncIterable<Buffer>) hash.update(chunk);
    if (hash.digest('hex') !== basename(dirname(file))) wrong.push(file);
  }
  return wrong;
}

/**
 * Links that name bytes which are not there, and folders of repositories that hold nothing: what a crash must never leave
 * to see. A folder for blobs is on the disk before its first blob, and means nothing without one.
 */
export async function danglingLinks(root: string): Promise<string[]> {
  const tree = join(root, 'docker', 'registry', 'v2');
  const entries = await readdir(tree, { recursive: true, withFileTypes: true });
  const there = new Set(entries.map(({ parentPath }) => parentPath));
  const wrong = [];
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory() && !there.has(path) && !path.startsWith(join(tree, 'blobs'))) wrong.push(path);
    if (entry.name !== 'link') continue;
    const [algorithm = '', hex = ''] = (await readFile(path, 'utf8')).split(':');
    if (!there.has(join(tree, 'blobs', algorithm, hex.slice(0, 2), hex))) wrong.push(path);
  }
  return wrong;
}
