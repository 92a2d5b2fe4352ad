import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { digestOf, expectStatus, locationOf, pushBlob, pushImage, type Call } from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { Wharfie } from './harness/wharfie.js';

describeWith(['root', 'strace'], 'what is acknowledged is on the disk', () => {
  let folder: string;
  let wharfie: Wharfie;
  let tracer: ChildProcess;
  const trace = () => join(folder, 'trace');
  const call: Call = (method, path, init) => wharfie.fetch(path, { ...init, method });
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-durable-'));
    wharfie = await Wharfie.start({ env: { WHARFIE_WORKERS: '1' } });
    // The folders that every push needs are made before, so that one push is seen alone.
    await pushImage(call, 'durable/app', 'warm');
    const calls = 'openat,ftruncate,pwrite64,pwritev,write,writev,fsync,fdatasync,rename,renameat,renameat2';
    tracer = spawn('strace', [
      '-f',
      '-y',
      '-s',
      '64',
      '-e',
      `trace=${calls}`,
      '-o',
      trace(),
      '-p',
      String(wharfie.pid('registry')),
    ]);
    await once(tracer.stderr ?? tracer, 'data');
  });
  afterAll(async () => {
    await wharfie.dispose();
    await rm(folder, { recursive: true });
  });

  it('in the order write, sync of the file, rename, sync of the folder, answer; for blobs, links, manifests and tags', async () => {
    const blob = await pushBlob(call, 'durable/app', Buffer.from('a blob that must last'));
    await pushImage(call, 'durable/app', 'latest');
    await pushBlob(call, 'durable/app', Buffer.alloc(3_000_000, 'a long blob, '));
    await pushAfterAKill(Buffer.from('the bytes of a writer that was killed'));
    await pushAfterAPowerCut(Buffer.from('counted, and not any more'), 'counted'.length);
    tracer.kill('SIGINT');
    await once(tracer, 'exit');
    const lines = completed(await readFile(trace(), 'utf8'));
    const hex = blob.slice('sha256:'.length);
    const after = (from: number, pattern: RegExp, what: string): number => {
      const index = lines.findIndex((line, position) => position > from && pattern.test(line));
      expect(index, what).toBeGreaterThan(from);
      return index;
    };

    const written = after(-1, /write.*uploads\/.*a blob that must last/, 'the bytes are written');
    const synced = after(written, /fdatasync\(\d+<.*uploads\/.*\/data>\) += 0/, 'their file is synced');
    const told = after(synced, /writev?\(.*202 Accepted/, '202 is answered');
    const placed = after(
      told,
      new RegExp(`rename\\("[^"]*/uploads/[^"]*", "[^"]*/blobs/sha256/${hex.slice(0, 2)}/[^"]*"\\) += 0`),
      'it is renamed into its place, and is nowhere else meanwhile',
    );
    const folderSynced = after(placed, /fsync\(\d+<.*blobs\/sha256(\/[^>]*)?>\) += 0/, 'its folder is synced');
    const linked = after(folderSynced, new RegExp(`rename.*_layers/sha256/${hex}.*\\) += 0`), 'the link is renamed');
    const linkSynced = after(linked, /fsync\(\d+<.*_layers\/sha256>\) += 0/, 'the link’s folder is synced');
    after(linkSynced, /writev?\(.*201 Created/, '201 is answered');

    const revision = after(
      linkSynced,
      /rename.*_manifests\/revisions\/sha256\/[0-9a-f]{64}.*\) += 0/,
      'the revision is renamed',
    );
    const tagged = after(revision, /rename.*_manifests\/tags\/latest.*\) += 0/, 'then the tag');
    const tagSynced = after(tagged, /fsync\(\d+<.*_manifests\/tags>\) += 0/, 'the tag’s folder is synced');
    after(tagSynced, /writev?\(.*201 Created/, 'then 201 is answered');
    const opened = after(tagSynced, /openat\(.*uploads\/.*O_DIRECT/, 'a long blob goes past the kernel’s cache');
    const streamed = after(opened, /write.*uploads\/.*a long blob/, 'its bytes are written');
    const rest = after(streamed, /write.*uploads\/.*, 1728, 2998272\) += 1728/, 'to the last');
    const longSynced = after(rest, /fdatasync\(\d+<.*uploads\/.*\/data>\) += 0/, 'its file is synced');
    after(longSynced, /writev?\(.*202 Accepted/, '202 is answered');
    const renamed = after(
      longSynced,
      /rename\("[^"]*wharfie\/tmp\/[^"]*", "[^"]*uploads\/[^"]*"\) += 0/,
      'a copy is taken',
    );
    const copy = /wharfie\/tmp\/([^"]*)"/.exec(lines[renamed] ?? '')?.[1] ?? '';
    const copied = after(
      longSynced,
      new RegExp(`fdatasync\\(\\d+<.*tmp/${copy}>\\) += 0`),
      'of a killed writer’s file',
    );
    expect(copied, 'which was synced before').toBeLessThan(renamed);
    after(
      renamed,
      new RegExp(`rename\\("[^"]*/uploads/[^"]*/${copy}", "[^"]*/blobs/sha256/[^"]*/data"\\) += 0`),
      'and is the blob',
    );
    const trimmed = after(renamed, /ftruncate\(\d+<.*uploads\/.*\/data>, 7\) += 0/, 'what does not count is cut off');
    const kept = after(trimmed, /fdatasync\(\d+<.*uploads\/.*\/data>\) += 0/, 'which is synced');
    after(kept, /rename\("[^"]*\/uploads\/[^"]*", "[^"]*\/blobs\/sha256\/[^"]*"\) += 0/, 'before it is a blob');
    // Every small file is synced before it is renamed.
    expect(lines.filter((line) => /fdatasync\(\d+<.*wharfie\/tmp\//.test(line)).length).toBeGreaterThanOrEqual(7);
  });

  /** Ends an upload whose last writer was killed while it held it. */
  async function pushAfterAKill(content: Buffer): Promise<void> {
    const begun = await call('POST', '/v2/durable/app/blobs/uploads/');
    const written = await call('PATCH', locationOf(begun), { body: content });
    await renameUpload(begun, (name) => `${name}.${randomUUID()}`);
    await expectStatus(await call('PUT', locationOf(written, `digest=${digestOf(content)}`)), 201);
  }

  /** Ends an upload of which a power cut has left more bytes than the name that counts them. */
  async function pushAfterAPowerCut(content: Buffer, left: number): Promise<void> {
    const begun = await call('POST', '/v2/durable/app/blobs/uploads/');
    await call('PATCH', locationOf(begun), { body: content });
    await renameUpload(begun, () => `${left}.data`);
    const found = await call('GET', locationOf(begun));
    await expectStatus(await call('PUT', locationOf(found, `digest=${digestOf(content.subarray(0, left))}`)), 201);
  }

  async function renameUpload(begun: Response, to: (name: string) => string): Promise<void> {
    const upload = join(wharfie.data, 'registry', 'wharfie', 'uploads', begun.headers.get('docker-upload-uuid') ?? '');
    const [name = ''] = await readdir(upload);
    await rename(join(upload, name), join(upload, to(name)));
  }
});

/** The calls of a trace in the order of their ends; a call that others interrupted stands in two lines. */
function completed(trace: string): string[] {
  const begun = new Map<string, string>();
  return trace.split('\n').flatMap((line) => {
    const [thread = ''] = line.split(' ', 1);
    if (line.endsWith('<unfinished ...>')) {
      begun.set(thread, line.slice(0, -'<unfinished ...>'.length));
      return [];
    }
    const resumed = /<\.\.\. \w+ resumed>(.*)$/.exec(line);
    return [resumed ? `${begun.get(thread) ?? ''}${resumed[1] ?? ''}` : line];
  });
}
