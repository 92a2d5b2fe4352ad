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
  types,
  type Call,
} from './harness/images.js';
import { Wharfie } from './harness/wharfie.js';

/** Whole Wharfies over one storage and one secret; the last has several registry processes. */
describe('several instances over one folder', () => {
  let folder: string;
  let instances: Wharfie[];
  let calls: Call[];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-instances-'));
    const env = {
      WHARFIE_ADMIN_PASSWORD: 'shared',
      WHARFIE_STORAGE_ROOT: join(folder, 'storage'),
      WHARFIE_SECRET_FILE: join(folder, 'secret'),
    };
    instances = [];
    for (const workers of ['1', '1', '4']) {
      instances.push(
        await Wharfie.start({
          data: join(folder, `data${instances.length}`),
          env: { ...env, WHARFIE_WORKERS: workers },
        }),
      );
    }
    calls = instances.map(
      (wharfie): Call =>
        (method, path, init) =>
          wharfie.fetch(path, { ...init, method, password: 'shared' }),
    );
  });
  afterAll(async () => {
    await Promise.all(instances.map((wharfie) => wharfie.dispose()));
    await rm(folder, { recursive: true });
  });
  let turn = 0;
  /** Each request to another instance than the one before. */
  const spread: Call = (method, path, init) => (calls[(turn += 1) % calls.length] as Call)(method, path, init);

  it('take every request of an upload on another one', async () => {
    const chunks = Array.from({ length: 7 }, () => randomBytes(50_000));
    const digest = await pushBlob(spread, 'spread/app', ...chunks);
    for (const call of calls) {
      const got = await expectStatus(await call('GET', `/v2/spread/app/blobs/${digest}`), 200);
      expect(Buffer.from(await got.arrayBuffer()).equals(Buffer.concat(chunks))).toBe(true);
    }
    const image = await pushImage(spread, 'spread/app', 'latest');
    for (const call of calls) expect(await pullImage(call, 'spread/app', 'latest')).toBe(image);
  });

  it('take 12 pushes of one blob at once', async () => {
    const bytes = randomBytes(500_000);
    const digests = await Promise.all(Array.from({ length: 12 }, () => pushBlob(spread, 'same/blob', bytes)));
    expect(new Set(digests)).toEqual(new Set([digestOf(bytes)]));
    const got = await calls[0]?.('GET', `/v2/same/blob/blobs/${digestOf(bytes)}`);
    expect(digestOf(new Uint8Array((await got?.arrayBuffer()) ?? new ArrayBuffer()))).toBe(digestOf(bytes));
  });

  it('agree on a tag that 24 write at once, and keep every revision', async () => {
    const images = await Promise.all(Array.from({ length: 24 }, () => pushImage(spread, 'contended/app', 'latest')));
    const seen = await Promise.all(calls.map((call) => pullImage(call, 'contended/app', 'latest')));
    expect(new Set(seen).size).toBe(1);
    expect(images).toContain(seen[0]);
    for (const image of images) expect(await pullImage(spread, 'contended/app', digestOf(image))).toBe(image);
  });

  it('never mix two PATCHes at one offset', async () => {
    for (let round = 0; round < 10; round += 1) {
      const start = randomBytes(1000);
      const begun = await expectStatus(await spread('POST', '/v2/mixed/app/blobs/uploads/'), 202);
      const first = await expectStatus(await spread('PATCH', locationOf(begun), { body: start }), 202);
      const rivals = Array.from({ length: 3 }, (_, index) => randomBytes(200_000 + index));
      const answers = await Promise.all(
        rivals.map((body, index) =>
          (calls[index] as Call)('PATCH', locationOf(first), {
            body,
            headers: { 'content-range': `1000-${999 + body.length}` },
          }),
        ),
      );
      const statuses = answers.map(({ status }) => status);
      expect(statuses.toSorted()).toEqual([202, 416, 416]);
      const winner = statuses.indexOf(202);
      const whole = Buffer.concat([start, rivals[winner] as Uint8Array]);
      const answer = answers[winner] as Response;
      await expectStatus(await spread('PUT', locationOf(answer, `digest=${digestOf(whole)}`)), 201);
    }
  });

  it('list 20 referrers that were pushed at once', async () => {
    const subject = { mediaType: types.oci, digest: digestOf('subject'), size: 7 };
    const artifacts = await Promise.all(
      Array.from({ length: 20 }, (_, index) => pushImage(spread, 'referred/app', `t${index}`, types.oci, { subject })),
    );
    for (const call of calls) {
      const { manifests } = (await (await call('GET', `/v2/referred/app/referrers/${subject.digest}`)).json()) as {
        manifests: { digest: string }[];
      };
      expect(manifests.map(({ digest }) => digest)).toEqual(artifacts.map(digestOf).sort());
    }
  });

  it('see a delete at once', async () => {
    for (let round = 0; round < 10; round += 1) {
      const image = await pushImage(spread, 'deleted/app', 'latest');
      const layer = (JSON.parse(image) as { layers: { digest: string }[] }).layers[0]?.digest ?? '';
      for (const call of calls) await pullImage(call, 'deleted/app', 'latest');
      await expectStatus(await spread('DELETE', `/v2/deleted/app/manifests/${digestOf(image)}`), 202);
      await expectStatus(await spread('DELETE', `/v2/deleted/app/blobs/${layer}`), 202);
      for (const call of calls) {
        for (const path of ['manifests/latest', `manifests/${digestOf(image)}`, `blobs/${layer}`]) {
          expect((await call('GET', `/v2/deleted/app/${path}`)).status, path).toBe(404);
        }
      }
    }
  });

  it('start more processes when there is work for them, and lose nothing when one is killed', async () => {
    const busy = instances[2] as Wharfie;
    const call = calls[2] as Call;
    const bytes = Array.from({ length: 60 }, () => randomBytes(300_000));
    await Promise.all(bytes.map((content) => pushBlob(call, 'busy/app', content)));
    const workers = () =>
      [...busy.stdout.matchAll(/"worker":(\d+),"msg":"a worker more"/g)].map(([, pid]) => Number(pid));
    expect(workers().length).toBeGreaterThanOrEqual(1);
    for (const content of bytes)
      expect((await call('HEAD', `/v2/busy/app/blobs/${digestOf(content)}`)).status).toBe(200);

    const metrics = await (
      await fetch(`http://${busy.environment['WHARFIE_REGISTRY_ADMIN_LISTEN'] ?? ''}/metrics`)
    ).text();
    const puts = /^wharfie_registry_requests_total\{kind="upload",method="PUT",status="201"\} (\d+)$/m.exec(
      metrics,
    )?.[1];
    expect(Number(puts)).toBeGreaterThanOrEqual(60);

    let broken = 0;
    /** As a client does: what broke off is tried again. */
    const pushAgain = async (content: Uint8Array): Promise<string> => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await pushBlob(call, 'busy/app', content);
        } catch (error) {
          // No answer, or the proxy's that the registry broke off. Anything else would be a wrong answer.
          if (attempt === 5 || !/fetch failed|: 50[23] /.test(String(error))) throw error;
          broken += 1;
        }
      }
    };
    const more = Array.from({ length: 60 }, () => randomBytes(300_000));
    let taken = 0;
    await Promise.all(
      more.map(async (content) => {
        await pushAgain(content);
        taken += 1;
        if (taken === 5) process.kill(workers().at(-1) ?? 0, 'SIGKILL');
      }),
    );
    await busy.said(/a worker died/);
    console.log(`a worker was killed under ${more.length} pushes, of which ${broken} broke off and were tried again`);
    for (const content of [...bytes, ...more]) {
      const got = await expectStatus(await call('GET', `/v2/busy/app/blobs/${digestOf(content)}`), 200);
      expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
    }
  });
});
