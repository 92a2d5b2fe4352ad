// What a page of a long list costs against one of a short list: the first, a middle and the last page of 100 entries, with
// 1,000 and 100,000 tags in a repository, and with 1,000 and 10,000 repositories. Prints medians and their ratio.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { startWharfie } from '../harness/start-wharfie.mjs';

const rounds = 60;
/** Rounds that are not counted: code that runs for the first time is slow, whatever it lists. */
const warmUp = 40;
const size = 100;
const digest = `sha256:${'0'.repeat(64)}`;

const root = await mkdtemp(join(tmpdir(), 'wharfie-lists-'));
try {
  await compare(makeTags, [1000, 100_000], (count) => `/v2/tags/of-${count}/tags/list`);
  await compare(makeRepositories, [1000, 10_000], () => '/v2/_catalog');
} finally {
  await rm(root, { recursive: true });
}

/**
 * Both lists are asked in turn, so that whatever slows this machine down slows both.
 * @param {typeof makeTags} make @param {[number, number]} counts @param {(count: number) => string} list
 */
async function compare(make, counts, list) {
  const sides = await Promise.all(
    counts.map(async (count) => {
      const storage = join(root, `${make.name}-${count}`);
      const name = await make(storage, count);
      const wharfie = await startWharfie({
        WHARFIE_DATA: join(root, `data-${make.name}-${count}`),
        WHARFIE_STORAGE_ROOT: storage,
        WHARFIE_LOG_LEVEL: 'error',
      });
      return { count, name, wharfie };
    }),
  );
  try {
    console.log(
      `\n${make.name}: pages of ${size}, median of ${rounds}, ms\n  page     ${counts.join('    ')}    ratio`,
    );
    for (const page of /** @type {const} */ (['first', 'middle', 'last'])) {
      const times = sides.map(() => /** @type {number[]} */ ([]));
      for (let round = -warmUp; round < rounds; round += 1) {
        for (const [index, { count, name, wharfie }] of sides.entries()) {
          const last = { first: '', middle: name(count / 2), last: name(count - size - 1) }[page];
          const start = performance.now();
          const response = await wharfie.fetch(`${list(count)}?n=${size}&last=${encodeURIComponent(last)}`);
          const body = /** @type {{ tags?: string[], repositories?: string[] }} */ (await response.json());
          if (round >= 0) times[index]?.push(performance.now() - start);
          const entries = (body.tags ?? body.repositories ?? []).length;
          if (entries !== size) throw new Error(`${list(count)} after "${last}": ${entries} entries`);
        }
      }
      const [short, long] = /** @type {[number, number]} */ (times.map(median));
      console.log(`  ${page.padEnd(7)} ${short.toFixed(2)}    ${long.toFixed(2)}     ${(long / short).toFixed(2)}`);
    }
  } finally {
    await Promise.all(sides.map(({ wharfie }) => wharfie.stop()));
  }
}

/** @param {number[]} times */
function median(times) {
  return times.sort((one, two) => one - two)[Math.floor(times.length / 2)] ?? 0;
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
