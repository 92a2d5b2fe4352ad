import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as undici from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from './harness/free-port.mjs';
import { digestOf, pullImage, pushBlob, pushImage, putManifest, types, type Call } from './harness/images.js';
import { danglingLinks, wrongBlobs } from './harness/storage.js';
import { cleanEnvironment, projectRoot } from './harness/wharfie.js';

const pushes = 200;
const clients = 8;
/** How long a request, or a start, may take in milliseconds, and how often one push may break: far more than ever seen. */
const patience = 60_000;
const mostTries = 500;
/** Node 20's own loses a request for good when its server dies while the first connections are being made. */
const fetch = undici.fetch as unknown as typeof globalThis.fetch;
const seed = Number(process.env['WHARFIE_E2E_SEED'] ?? Date.now() % 1_000_000);

describe(`${pushes} pushes while both services are killed at random (seed ${seed})`, () => {
  let folder: string;
  let environment: NodeJS.ProcessEnv;
  let address: string;
  const services = new Map<string, ChildProcess>();
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-kills-'));
    const ports = await Promise.all(Array.from({ length: 4 }, freePort));
    address = `127.0.0.1:${ports[0]}`;
    environment = {
      ...cleanEnvironment(),
      WHARFIE_DATA: join(folder, 'data'),
      WHARFIE_ADMIN_PASSWORD: 'known',
      WHARFIE_LOG_LEVEL: 'error',
      WHARFIE_LISTEN: address,
      WHARFIE_REGISTRY_LISTEN: `127.0.0.1:${ports[1]}`,
      WHARFIE_ADMIN_LISTEN: `127.0.0.1:${ports[2]}`,
      WHARFIE_REGISTRY_ADMIN_LISTEN: `127.0.0.1:${ports[3]}`,
    };
    await start('registry');
    await start('proxy');
  });
  afterAll(async () => {
    for (const [name] of services) await end(name, 'SIGTERM');
    await rm(folder, { recursive: true });
  });

  async function start(name: string): Promise<void> {
    const main = join(projectRoot, name, 'dist', 'main.js');
    const child = fork(main, { env: environment, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    services.set(name, child);
    const signal = AbortSignal.timeout(patience);
    const ready = await Promise.race([
      once(child, 'message', { signal }).then(() => true),
      once(child, 'exit', { signal }).then(() => false),
    ]);
    if (!ready) throw new Error(`the ${name} did not start`);
  }
  async function end(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = services.get(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }
  const authorization = `Basic ${Buffer.from('admin:known').toString('base64')}`;
  const call: Call = async (method, path, init) => {
    const late = AbortSignal.timeout(patience);
    try {
      return await fetch(`http://${address}${path}`, {
        ...init,
        method,
        redirect: 'manual',
        signal: late,
        headers: { authorization, ...(init?.headers as Record<string, string>) },
      });
    } catch (error) {
      throw late.aborted ? new Error(`${method} ${path} had no answer in ${patience} ms`) : error;
    }
  };

  it('lose nothing that was acknowledged, show nothing wrong, and leave nothing behind', async () => {
    const random = generator(seed);
    const acknowledged: { blobs: string[]; manifests: string[]; tags: Map<string, string> } = {
      blobs: [],
      manifests: [],
      tags: new Map(),
    };
    const counting: Call = async (method, path, init) => {
      const response = await call(method, path, init);
      const blob = /[?&]digest=(sha256:[0-9a-f]{64})/.exec(path)?.[1];
      if (response.status === 201 && blob !== undefined) acknowledged.blobs.push(blob);
      const tag = /manifests\/([^/:]+)$/.exec(path)?.[1];
      if (response.status === 201 && method === 'PUT' && tag !== undefined) {
        const digest = response.headers.get('docker-content-digest') ?? '';
        acknowledged.manifests.push(digest);
        acknowledged.tags.set(tag, digest);
      }
      return response;
    };
    const kills = { proxy: 0, registry: 0 };
    let broken = 0;
    let done = false;
    let up = Promise.resolve();
    const pushing = async (worker: number): Promise<void> => {
      for (let index = worker; index < pushes; index += clients) {
        // As a client does: when something breaks, the whole push again.
        for (let tries = 1, isTaken = false; !isTaken; tries += 1) {
          await up;
          try {
            const image = await pushImage(counting, 'killed/app', `t${index}`);
            await putManifest(counting, 'killed/app', `latest${worker}`, image, types.oci);
            isTaken = true;
          } catch (error) {
            // No answer, or the proxy's that the registry gives none. Anything else would be a wrong answer.
            if (!/fetch failed|terminated|: 50[23] /.test(String(error)) || tries === mostTries) throw error;
            broken += 1;
          }
        }
      }
    };
    const killing = async (): Promise<void> => {
      while (!isDone()) {
        await new Promise((resolve) => setTimeout(resolve, random() * 1000));
        const name = random() < 0.25 ? 'proxy' : 'registry';
        kills[name] += 1;
        up = end(name, 'SIGKILL').then(() => start(name));
        await up;
      }
    };
    const isDone = (): boolean => done;
    const killer = killing();
    await Promise.all(Array.from({ length: clients }, (_, index) => pushing(index))).finally(() => {
      done = true;
    });
    await killer;

    expect(kills.proxy + kills.registry).toBeGreaterThan(5);
    expect(broken).toBeGreaterThan(0);
    for (const blob of acknowledged.blobs) {
      const got = await call('GET', `/v2/killed/app/blobs/${blob}`);
      expect([got.status, digestOf(new Uint8Array(await got.arrayBuffer()))]).toEqual([200, blob]);
    }
    for (const manifest of acknowledged.manifests)
      expect(digestOf(await pullImage(call, 'killed/app', manifest))).toBe(manifest);
    expect(acknowledged.tags.size).toBe(pushes + clients);
    for (const [tag, digest] of acknowledged.tags)
      expect(digestOf(await pullImage(call, 'killed/app', tag)), tag).toBe(digest);
    const tags = (await (await call('GET', '/v2/killed/app/tags/list')).json()) as { tags: string[] };
    expect(tags.tags).toEqual([...acknowledged.tags.keys()].sort());

    const root = join(folder, 'data', 'registry');
    expect(await wrongBlobs(root)).toEqual([]);
    expect(await danglingLinks(root)).toEqual([]);
    const leftBefore =
      (await readdir(join(root, 'wharfie', 'uploads'))).length + (await readdir(join(root, 'wharfie', 'tmp'))).length;
    await end('registry', 'SIGTERM');
    environment['WHARFIE_UPLOAD_LIFETIME'] = '1s';
    await start('registry');
    for (const name of ['uploads', 'tmp'])
      await expect.poll(() => readdir(join(root, 'wharfie', name)), { timeout: 20_000 }).toEqual([]);
    // What is there goes on as before.
    const again = await pushImage(call, 'killed/app', 'after');
    expect(await pullImage(call, 'killed/app', 'after')).toBe(again);
    await putManifest(call, 'killed/app', 'again', again, types.oci);
    await pushBlob(call, 'killed/app', Buffer.from('after'));
    console.log(
      `${pushes} pushes, ${kills.registry} kills of the registry, ${kills.proxy} of the proxy, ${broken} tries that broke; acknowledged and found again: ${acknowledged.blobs.length} blobs, ` +
        `${acknowledged.manifests.length} manifests, ${acknowledged.tags.size} tags; ${leftBefore} leftovers purged`,
    );
  }, 600_000);
});

/** Numbers from 0 to 1 that follow from a seed (mulberry32), so that a run can be repeated. */
function generator(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
