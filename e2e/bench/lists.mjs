// What a page of a long list costs against one of a short list: the first, a middle and the last page of 100 entries.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dockerRegistry, wharfie } from './sides.mjs';

/** @typedef {import('./bench.mjs').Measure} Measure */
/** @typedef {import('./bench.mjs').Side} Side */

const size = 100;
const repository = 'long/list';
const link = `sha256:${'0'.repeat(64)}`;

/** @type {Map<number, Promise<string>>} */
const storages = new Map();

/** The suite: the long list on the first side, so that its ratio to the short one is shown. @returns {import('./bench.mjs').Suite} */
export function lists() {
  const [long, short] = [100_000, 1000];
  return {
    title: `Pages of ${size} entries of a list of ${long} and of ${short}`,
    sides: [long, short].flatMap((count) => [
      onStorage(count, 'Wharfie', (root) => wharfie({ WHARFIE_STORAGE_ROOT: root })),
      onStorage(count, 'docker-registry', (root) => dockerRegistry(`filesystem: { rootdirectory: ${root} }`)),
    ]),
    measures: /** @type {const} */ (['tags', 'catalog']).flatMap((list) =>
      /** @type {const} */ (['first', 'middle', 'last']).map((page) => pageOf(list, page, `Wharfie, ${short}`)),
    ),
  };
}

/** Removes what `lists` made. */
export async function removeLists() {
  if (storages.size > 0) console.error('removing the lists, which takes a while');
  for (const root of storages.values()) await rm(await root, { recursive: true });
}

/** @param {'tags' | 'catalog'} list @param {'first' | 'middle' | 'last'} page @param {string} rival @returns {Measure} */
function pageOf(list, page, rival) {
  return {
    id: `list-${list}-${page}`,
    title: `${list === 'tags' ? 'Tags' : 'Catalog'}, ${page} page`,
    unit: 'ms',
    better: 'less',
    wanted: { [rival]: 2 },
    rounds: 3,
    take: async ({ side, load }) => {
      const count = Number(side.name.split(', ')[1]);
      const name = list === 'tags' ? tagName : repositoryName;
      const last = { first: '', middle: name(count / 2), last: name(count - size - 1) }[page];
      const path = list === 'tags' ? `/v2/${repository}/tags/list` : '/v2/_catalog';
      // Without pages, or walking all of the tree for each, one answer may take seconds.
      const times = side.name.startsWith('Wharfie') ? 40 : 1;
      const target = `${path}?n=${size}&last=${encodeURIComponent(last)}`;
      const { milliseconds } = await load('ask', { target: side.target, path: target, times });
      return milliseconds;
    },
  };
}

/** @param {number} count @param {string} name @param {(root: string) => Side} side @returns {Side} */
function onStorage(count, name, side) {
  return {
    name: `${name}, ${count}`,
    start: async (folder) => {
      let root = storages.get(count);
      if (!root) storages.set(count, (root = makeStorage(count)));
      return side(await root).start(folder);
    },
  };
}

/** A storage with `count` tags in one repository, and `count` repositories. @param {number} count */
async function makeStorage(count) {
  const root = await mkdtemp(join(tmpdir(), 'wharfie-lists-'));
  const repositories = join(root, 'docker/registry/v2/repositories');
  for (let index = 0; index < count; index += 500) {
    await Promise.all(
      Array.from({ length: Math.min(500, count - index) }, async (_, offset) => {
        await makeTag(join(repositories, repository, '_manifests/tags', tagName(index + offset)));
        await makeTag(join(repositories, repositoryName(index + offset), '_manifests/tags/latest'));
      }),
    );
  }
  return root;
}

/** @param {string} folder */
async function makeTag(folder) {
  await mkdir(join(folder, 'current'), { recursive: true });
  await writeFile(join(folder, 'current', 'link'), link);
}

/** @param {number} index */
function tagName(index) {
  return `v${String(index).padStart(6, '0')}`;
}

/** @param {number} index */
function repositoryName(index) {
  return `r${String(index).padStart(6, '0')}`;
}
