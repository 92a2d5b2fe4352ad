import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf, expectStatus, pushBlob, type Call } from './harness/images.js';
import { describeRaces } from './harness/races.js';
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
  describeRaces(() => calls, 10);

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
