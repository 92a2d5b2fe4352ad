// What a page of a long list costs against one of a short list: the first, a middle and the last page of 100 entries, with
// 1,000 and 100,000 tags in a repository, and with 1,000 and 10,000 repositories. Prints medians and their ratio.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { startWharfie } from '../harness/start-wharfie.mjs';

const rounds = 15;
const size = 100;
const digest = `sha256:${'0'.repeat(64)}`;

const root = await mkdtemp(join(tmpdir(), 'wharfie-lists-'));
try {
  for (const [few, many, make, list] of /** @type {const} */ ([
    [1000, 100_000, makeTags, (/** @type {number} */ count) => `/v2/tags/of-${count}/tags/list`],
    [1000, 10_000, makeRepositories, () => '/v2/_catalog'],
  ])) {
    /** @type {Record<string, number[]>} */
    const medians = {};
    for (const count of [few, many]) {
      const storage = join(root, `${make.name}-${count}`);
      const name = await make(storage, count);
      const wharfie = await startWharfie({
        WHARFIE_DATA: join(root, `data-${make.name}-${count}`),
        WHARFIE_STORAGE_ROOT: storage,
        WHARFIE_LOG_LEVEL: 'error',
      });
      for (const [page, last] of /** @type {const} */ ([
        ['first', ''],
        ['middle', name(count / 2)],
        ['last', name(count - size - 1)],
      ])) {
        const times = [];
        for (let round = 0; round < rounds; round += 1) {
          const start = performance.now();
          const response = await wharfie.fetch(`${list(count)}?n=${size}&last=${encodeURIComponent(last)}`);
          const body = /** @type {{ tags?: string[], repositories?: string[] }} */ (await response.json());
          times.push(performance.now() - start);
          const entries = (body.tags ?? body.repositories ?? []).length;
          if (entries !== size) throw new Error(`${list(count)} after "${last}": ${entries} entries`);
        }
        times.sort((one, two) => one - two);
        (medians[page] ??= []).push(times[Math.floor(rounds / 2)] ?? 0);
      }
      await wharfie.stop();
    }
    console.log(`\n${make.name}: pages of ${size}, median of ${rounds}, ms\n  page     ${few}    ${many}    ratio`);
    for (const [page, [short = 0, long = 0]] of Object.entries(medians)) {
      console.log(`  ${page.padEnd(7)} ${short.toFixed(2)}    ${long.toFixed(2)}     ${(long / short).toFixed(2)}`);
    }
  }
} finally {
  await rm(root, { recursive: true });
}

/** @param {string} storage @param {number} count @returns {Promise<(index: number) => string>} */
async function makeTags(storage, count) {
  const name = (/** @type {number} */ index) => `v${String(index).padStart(6, '0')}`;
  await make(count, (index) =>
    join(storage, 'docker/registry/v2/repositories/tags', `of-${count}`, '_manifests/tags', name(index), 'current'),
  );
  return name;
}

/** @param {string} storage @param {number} count @returns {Promise<(index: number) => string>} */
async function makeRepositories(storage, count) {
  const name = (/** @type {number} */ index) => `r${String(index).padStart(6, '0')}`;
  await make(count, (index) =>
    join(storage, 'docker/registry/v2/repositories', name(index), '_manifests/tags/latest/current'),
  );
  return name;
}

/** @param {number} count @param {(index: number) => string} folder */
async function make(count, folder) {
  for (let index = 0; index < count; index += 500) {
    await Promise.all(
      Array.from({ length: Math.min(500, count - index) }, async (_, offset) => {
        await mkdir(folder(index + offset), { recursive: true });
        await writeFile(join(folder(index + offset), 'link'), digest);
      }),
    );
  }
}
