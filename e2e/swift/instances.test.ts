import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  digestOf,
  expectStatus,
  locationOf,
  pullImage,
  pushBlob,
  pushImage,
  putManifest,
  types,
  type Call,
} from '../harness/images.js';
import { describeRaces } from '../harness/races.js';
import { describeWith } from '../harness/requirements.js';
import { Wharfie } from '../harness/wharfie.js';
import { Swift, type Fault } from './swift.js';

const container = 'shared';

/** Whole Wharfies over one container and one secret; the last has several registry processes. */
describeWith(['swift'], 'several instances over one container', () => {
  let swift: Swift;
  let folder: string;
  const instances: Wharfie[] = [];
  const start = async (env: Record<string, string> = {}): Promise<Wharfie> =>
    Wharfie.start({
      data: await mkdtemp(join(folder, 'data-')),
      env: {
        ...swift.settings(container),
        WHARFIE_ADMIN_PASSWORD: 'shared',
        WHARFIE_SECRET_FILE: join(folder, 'secret'),
        WHARFIE_WORKERS: '1',
        ...env,
      },
    });
  const callOf =
    (wharfie: Wharfie | undefined): Call =>
    (method, path, init) =>
      (wharfie as Wharfie).fetch(path, { ...init, method, password: 'shared' });
  const calls = (): Call[] => instances.map(callOf);
  beforeAll(async () => {
    swift = await Swift.start();
    folder = await mkdtemp(join(tmpdir(), 'wharfie-swift-instances-'));
    for (const workers of ['1', '1', '4']) instances.push(await start({ WHARFIE_WORKERS: workers }));
  });
  afterAll(async () => {
    await Promise.all(instances.map((wharfie) => wharfie.dispose()));
    await swift.dispose();
    await rm(folder, { recursive: true });
  });

  describeRaces(calls, 3);

  it('leave no segment of an upload that was cancelled, refused or lost, once it is purged', async () => {
    const call = callOf(instances[0]);
    const repository = 'left/app';
    const content = randomBytes(2_500_000);
    const upload = async (): Promise<Response> => {
      const begun = await expectStatus(await call('POST', `/v2/${repository}/blobs/uploads/`), 202);
      return expectStatus(await call('PATCH', locationOf(begun), { body: content }), 202);
    };
    await expectStatus(await call('DELETE', locationOf(await upload())), 204);
    await expectStatus(await call('PUT', locationOf(await upload(), `digest=${digestOf('others')}`)), 400);
    const large = randomBytes(17_000_000);
    await pushBlob(call, repository, large);
    await upload();

    const purging = await start({ WHARFIE_UPLOAD_LIFETIME: '1s' });
    try {
      await expect.poll(() => swift.names(container, 'files/wharfie/'), { timeout: 60_000 }).toEqual([]);
    } finally {
      await purging.dispose();
    }
    // What is left belongs to blobs: to each name of a segment there is a large object with it.
    const used = new Set<string>();
    for (const name of await swift.names(container, 'files/docker/registry/v2/blobs/')) {
      const answer = await swift.fetch(`${container}/${name}?multipart-manifest=get`);
      if (answer.headers.get('x-static-large-object') === null) await answer.body?.cancel();
      else
        for (const entry of (await answer.json()) as { name: string }[])
          used.add(entry.name.slice(container.length + 2));
    }
    const segments = (await swift.names(container, 'segments/')).filter((name) => !name.includes('/committed-'));
    expect(segments.length).toBeGreaterThan(0);
    expect(segments.filter((name) => !used.has(name))).toEqual([]);
    await expectBlob(call, repository, large);
  });

  /** Asks `wharfie`, and kills its registry when `fault` strikes: in the middle of the request. */
  const killed = async (wharfie: Wharfie, fault: Fault, method: string, path: string, init?: RequestInit) => {
    await swift.faults({ times: 1, ...fault });
    const asked = callOf(wharfie)(method, path, init).then(
      ({ status }) => status,
      () => undefined,
    );
    const early = asked.then((status) =>
      Promise.reject(new Error(`answered ${status} before the fault:\n${wharfie.stdout}`)),
    );
    const taken = await Promise.race([swift.faulted(), early]);
    process.kill(wharfie.pid('registry'), 'SIGKILL');
    // No answer, or the door's own; never one as if it were done.
    expect([undefined, 502, 503]).toContain(await asked);
    await swift.faults();
    return taken;
  };
  /** Each before Swift has done its work, and after. */
  const moments = (points: readonly [string, Fault][]) =>
    points.flatMap(([what, fault]) =>
      [false, true].map((after): [string, Fault] => [
        `${after ? 'after' : 'before'} ${what}`,
        { method: 'PUT', delay: 2, ...fault, ...(after ? { after, status: 503 } : {}) },
      ]),
    );

  describe('of which one is killed', () => {
    const repository = 'killed/app';

    it.each(
      moments([
        ['the bytes of a PATCH are stored', { path: '/at/' }],
        ['a PATCH that began elsewhere is proposed', { path: '/proposal\\?' }],
        ['a PATCH that began elsewhere is decided', { path: '/decision\\?' }],
      ]),
    )('%s, another one goes on with the upload where it stands', async (what, fault) => {
      const victim = await start();
      const other = callOf(instances[0]);
      const blob = randomBytes(3_000_000);
      const one = what.includes('elsewhere') ? other : callOf(victim);
      const begun = await expectStatus(await one('POST', `/v2/${repository}/blobs/uploads/`), 202);
      const first = await expectStatus(
        await one('PATCH', locationOf(begun), { body: blob.subarray(0, 1_000_000) }),
        202,
      );
      await killed(victim, fault, 'PATCH', locationOf(first), { body: blob.subarray(1_000_000) });
      await victim.dispose();

      /** Ends the upload as a client does: asks where it stands, and sends the rest. */
      const end = async (stands: Response): Promise<Response> => {
        const size = Number(stands.headers.get('range')?.split('-')[1]) + 1;
        // What was acknowledged is kept, and of the rest nothing or all.
        expect([1_000_000, blob.length]).toContain(size);
        const rest = size < blob.length ? { body: blob.subarray(size) } : {};
        return other('PUT', locationOf(stands, `digest=${digestOf(blob)}`), rest);
      };
      const ended = await end(await expectStatus(await other('GET', locationOf(first)), 204));
      // What the dead one had proposed can stand there as soon as somebody looks closely: then it says where to go on.
      await expectStatus(ended.status === 416 ? await end(ended) : ended, 201);
      await expectBlob(other, repository, blob);
    });

    it.each(
      moments([
        ['the large object of a commit is made', { path: '/data\\?.*multipart-manifest' }],
        ['a blob is linked', { path: '/_layers/' }],
      ]),
    )('%s, another one ends the upload, or takes it again', async (_, fault) => {
      const victim = await start();
      const other = callOf(instances[1]);
      const content = randomBytes(17_000_000);
      const begun = await expectStatus(await callOf(victim)('POST', `/v2/${repository}/blobs/uploads/`), 202);
      const patched = await expectStatus(await callOf(victim)('PATCH', locationOf(begun), { body: content }), 202);
      const end = locationOf(patched, `digest=${digestOf(content)}`);
      await killed(victim, fault, 'PUT', end);
      await victim.dispose();

      const again = await other('PUT', end);
      // The upload has ended when only the link was missing: a client sends the blob again.
      if (again.status === 404) await pushBlob(other, repository, content);
      else await expectStatus(again, 201);
      await expectBlob(other, repository, content);
    });

    it.each(
      moments([
        ['a manifest is stored', { path: '/blobs/sha256/.*/data' }],
        ['its revision is linked', { path: '/_manifests/revisions/' }],
        ['its tag is moved', { path: '/current/link' }],
      ]),
    )('%s, the tag is the old or the new one, and another one moves it', async (_, fault) => {
      const other = callOf(instances[0]);
      // A tag of its own: what Swift still does for the dead one can move it later.
      const tag = `moving-${randomBytes(4).toString('hex')}`;
      const old = await pushImage(other, repository, tag);
      const next = JSON.stringify({
        ...(JSON.parse(old) as object),
        annotations: { again: randomBytes(8).toString('hex') },
      });
      const victim = await start();
      const headers = { 'content-type': types.oci };
      await killed(victim, fault, 'PUT', `/v2/${repository}/manifests/${tag}`, { body: next, headers });
      await victim.dispose();

      expect([old, next]).toContain(await pullImage(other, repository, tag));
      await putManifest(other, repository, tag, next, types.oci);
      expect(await pullImage(other, repository, tag)).toBe(next);
      expect(await pullImage(other, repository, digestOf(old))).toBe(old);
    });
  });
});

async function expectBlob(call: Call, repository: string, content: Buffer): Promise<void> {
  const got = await expectStatus(await call('GET', `/v2/${repository}/blobs/${digestOf(content)}`), 200);
  expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
}
