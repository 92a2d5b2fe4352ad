import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { blobsOf, writeLayout } from './harness/oci-layout.js';
import { describeWith } from './harness/requirements.js';
import { run } from './harness/run.js';
import { Wharfie } from './harness/wharfie.js';

describeWith(['skopeo'], 'skopeo', () => {
  let wharfie: Wharfie;
  let folder: string;
  beforeAll(async () => {
    wharfie = await Wharfie.start();
    folder = await mkdtemp(join(tmpdir(), 'wharfie-skopeo-'));
    await writeLayout(join(folder, 'in'), ['amd64', 'arm64']);
  });
  afterAll(async () => {
    await wharfie.dispose();
    await rm(folder, { recursive: true });
  });
  const remote = (name: string) => `docker://${wharfie.address}/${name}`;
  const skopeo = (args: string[]) =>
    run('skopeo', ['--insecure-policy', ...args], { env: { HOME: folder, XDG_RUNTIME_DIR: folder } });
  const copy = (from: string, to: string, more: string[] = [], credentials = `admin:${wharfie.password}`) =>
    skopeo([
      'copy',
      '--src-tls-verify=false',
      '--dest-tls-verify=false',
      `--${to.startsWith('docker:') ? 'dest' : 'src'}-creds=${credentials}`,
      ...more,
      from,
      to,
    ]);

  it('copies an index of two platforms in and out unchanged', async () => {
    const pushed = await copy(`oci:${folder}/in:latest`, remote('multi/app:1'), ['--all', '--preserve-digests']);
    expect(pushed.code, pushed.stderr).toBe(0);
    const pulled = await copy(remote('multi/app:1'), `oci:${folder}/out:latest`, ['--all', '--preserve-digests']);
    expect(pulled.code, pulled.stderr).toBe(0);
    const blobs = await blobsOf(join(folder, 'in'));
    expect(blobs).toHaveLength(7);
    expect(await blobsOf(join(folder, 'out'))).toEqual(blobs);
    for (const blob of blobs) {
      const [sent, got] = await Promise.all(
        ['in', 'out'].map((side) => readFile(join(folder, side, 'blobs', 'sha256', blob))),
      );
      expect(sent?.equals(got ?? Buffer.alloc(0)), blob).toBe(true);
    }
  });

  it('converts to Docker’s schema 2', async () => {
    const pushed = await copy(`oci:${folder}/in:latest`, remote('multi/docker:1'), ['--all', '--format', 'v2s2']);
    expect(pushed.code, pushed.stderr).toBe(0);
    const raw = await skopeo([
      'inspect',
      '--raw',
      '--tls-verify=false',
      `--creds=admin:${wharfie.password}`,
      remote('multi/docker:1'),
    ]);
    expect(JSON.parse(raw.stdout)).toMatchObject({
      mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json',
    });
  });

  it('lists tags, inspects and deletes', async () => {
    const options = ['--tls-verify=false', `--creds=admin:${wharfie.password}`];
    const tags = await skopeo(['list-tags', ...options, remote('multi/app')]);
    expect(JSON.parse(tags.stdout)).toMatchObject({ Tags: ['1'] });
    const inspected = await skopeo(['inspect', ...options, '--override-arch=arm64', remote('multi/app:1')]);
    expect(JSON.parse(inspected.stdout)).toMatchObject({ Architecture: 'arm64' });
    expect((await skopeo(['delete', ...options, remote('multi/app:1')])).code).toBe(0);
    expect((await skopeo(['inspect', ...options, remote('multi/app:1')])).stderr).toContain('manifest unknown');
  });

  it('is refused with a wrong password, and where it may not push', async () => {
    expect((await copy(`oci:${folder}/in:latest`, remote('multi/app:2'), [], 'admin:wrong')).code).not.toBe(0);
    await wharfie.addUser('carol', 'carols password');
    const refused = await copy(`oci:${folder}/in:latest`, remote('multi/app:2'), [], 'carol:carols password');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('carol may not push to multi/app');
  });
});
