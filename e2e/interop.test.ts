import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Distribution } from './harness/distribution.js';
import {
  digestOf,
  expectStatus,
  pullImage,
  pushBlob,
  pushImage,
  putManifest,
  types,
  type Call,
} from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { Wharfie } from './harness/wharfie.js';

describeWith(['distribution'], 'distribution 2.8.2 on the same folder at the same time', () => {
  let wharfie: Wharfie;
  let distribution: Distribution;
  let root: string;
  const ours: Call = (method, path, init) => wharfie.fetch(path, { method, ...init });
  const theirs: Call = (method, path, init) => distribution.call(method, path, init);
  const sides = () => [
    { name: 'ours', push: ours, pull: theirs },
    { name: 'theirs', push: theirs, pull: ours },
  ];
  beforeAll(async () => {
    wharfie = await Wharfie.start();
    root = join(wharfie.data, 'registry');
    distribution = await Distribution.start(root);
  });
  afterAll(async () => {
    await distribution.stop();
    await wharfie.dispose();
  });

  it('serves byte for byte what the other pushed: images of both kinds, lists, look-alike names', async () => {
    for (const { name, push, pull } of sides()) {
      for (const repository of [
        name,
        `${name}/app`,
        `${name}-app`,
        `${name}/app/deep`,
        `${name}.app`,
        `${name}__app`,
      ]) {
        const image = await pushImage(push, repository, '1');
        const docker = await pushImage(push, repository, 'docker', types.docker);
        expect(await pullImage(pull, repository, '1')).toBe(image);
        expect(await pullImage(pull, repository, 'docker')).toBe(docker);
        for (const [tag, mediaType, child, childType] of [
          ['index', types.index, image, types.oci],
          ['list', types.dockerList, docker, types.docker],
        ] as const) {
          const platform = { architecture: 'amd64', os: 'linux' };
          const manifests = [{ mediaType: childType, digest: digestOf(child), size: child.length, platform }];
          const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
          await putManifest(push, repository, tag, body, mediaType);
          expect(await pullImage(pull, repository, digestOf(body))).toBe(body);
        }
      }
    }
  });

  it('reads blobs that came in chunks, the empty one, and tags that moved', async () => {
    for (const { name, push, pull } of sides()) {
      const chunks = Array.from({ length: 5 }, () => randomBytes(10_000));
      const digest = await pushBlob(push, name, ...chunks);
      const got = await expectStatus(await pull('GET', `/v2/${name}/blobs/${digest}`), 200);
      expect(Buffer.from(await got.arrayBuffer()).equals(Buffer.concat(chunks))).toBe(true);
      const empty = await pushBlob(push, name, new Uint8Array());
      expect((await pull('HEAD', `/v2/${name}/blobs/${empty}`)).status).toBe(200);

      await pushImage(push, name, 'moving');
      const second = await pushImage(pull, name, 'moving');
      expect(await pullImage(push, name, 'moving')).toBe(second);
      const third = await pushImage(push, name, 'moving');
      expect(await pullImage(pull, name, 'moving')).toBe(third);
    }
  });

  it('lists the same tags and the same repositories', async () => {
    const repositories = async (call: Call) =>
      ((await (await call('GET', '/v2/_catalog?n=1000')).json()) as { repositories: string[] }).repositories;
    const catalog = await repositories(ours);
    expect(catalog.length).toBeGreaterThanOrEqual(12);
    expect((await repositories(theirs)).toSorted()).toEqual(catalog);
    for (const repository of catalog) {
      const tags = async (call: Call) =>
        ((await (await call('GET', `/v2/${repository}/tags/list`)).json()) as { tags: string[] }).tags.toSorted();
      expect(await tags(theirs), repository).toEqual(await tags(ours));
    }
  });

  it('sees the deletes of the other at once', async () => {
    for (const { name, push, pull } of sides()) {
      const repository = `${name}/deleted`;
      const image = await pushImage(push, repository, 'gone');
      await pushImage(push, repository, 'stays');
      await expectStatus(await pull('DELETE', `/v2/${repository}/manifests/${digestOf(image)}`), 202);
      for (const reference of ['gone', digestOf(image)]) {
        expect((await push('GET', `/v2/${repository}/manifests/${reference}`)).status, `${name} ${reference}`).toBe(
          404,
        );
      }
      await pullImage(push, repository, 'stays');
    }
  });

  it('and its unfinished uploads do not disturb ours, nor ours it', async () => {
    for (const { name, push, pull } of sides()) {
      const begun = await expectStatus(await push('POST', `/v2/${name}/unfinished/blobs/uploads/`), 202);
      const catalog = (await (await pull('GET', '/v2/_catalog?n=1000')).json()) as { repositories: string[] };
      expect(catalog.repositories).not.toContain(`${name}/unfinished`);
      expect((await pull('GET', `/v2/${name}/unfinished/tags/list`)).status).toBe(404);
      expect(begun.headers.get('docker-upload-uuid')).toBeTruthy();
    }
  });

  it('collects only garbage from our folder, with and without untagged manifests, and we go on', async () => {
    const repository = 'collected/app';
    const kept = await pushImage(ours, repository, 'kept');
    const subject = { mediaType: types.oci, digest: digestOf(kept), size: kept.length };
    const artifact = await pushImage(ours, repository, 'artifact', types.oci, {
      subject,
      artifactType: 'application/vnd.example',
    });
    const unlinked = await pushBlob(ours, repository, randomBytes(3000));
    const replaced = await pushImage(ours, repository, 'moved');
    await pushImage(ours, repository, 'moved');
    const blobs = async () =>
      (await readdir(join(root, 'docker/registry/v2/blobs/sha256'), { recursive: true })).filter((name) =>
        name.endsWith('data'),
      ).length;
    const before = await blobs();

    await distribution.collectGarbage(false);
    expect(before - (await blobs())).toBeGreaterThanOrEqual(1);
    expect((await ours('GET', `/v2/${repository}/blobs/${unlinked}`)).status).toBe(404);
    expect(await pullImage(ours, repository, 'kept')).toBe(kept);
    expect(await pullImage(ours, repository, digestOf(replaced))).toBe(replaced);

    await distribution.collectGarbage(true);
    expect((await ours('GET', `/v2/${repository}/manifests/${digestOf(replaced)}`)).status).toBe(404);
    expect(await pullImage(ours, repository, 'kept')).toBe(kept);
    const listed = (await (await ours('GET', `/v2/${repository}/referrers/${subject.digest}`)).json()) as {
      manifests: { digest: string }[];
    };
    expect(listed.manifests.map(({ digest }) => digest)).toEqual([digestOf(artifact)]);
    const after = await pushImage(ours, repository, 'after');
    expect(await pullImage(theirs, repository, 'after')).toBe(after);
  });
});
