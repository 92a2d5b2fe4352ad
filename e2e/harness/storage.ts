import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
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
