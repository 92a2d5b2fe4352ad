// What is measured of a registry, whatever its storage.
import { mebibyte } from './bench.mjs';

/** @typedef {import('./bench.mjs').Measure} Measure */
/** @typedef {import('./bench.mjs').Run} Run */

/** What each side gets of a kind of pushes before one counts. */
const firstBytes = 1024 * mebibyte;

/** Big blobs going up. @returns {Measure[]} */
export function pushes() {
  return [
    throughput('push', 'one blob', (size) => ({ bytes: size })),
    throughput('push-chunked', 'one blob in chunks of 5 MiB', (size) => ({ bytes: size, chunk: 5 * mebibyte })),
    throughput('push-8', '8 blobs at once', (size) => ({ bytes: size / 4, clients: 8 })),
    throughput('push-50', '50 blobs at once', (size) => ({ bytes: size / 16, clients: 50 })),
  ];
}

/** Big blobs coming down. @returns {Measure[]} */
export function pulls() {
  return [
    pulling('pull', 'one blob', 1, 1),
    pulling('pull-8', '8 blobs at once', 8, 4),
    pulling('pull-50', '50 blobs at once', 50, 16),
  ];
}

/** A blob each time that was pushed a moment ago. @returns {Measure} */
export function firstPull() {
  return {
    id: 'pull-first',
    title: 'Pull one blob for the first time',
    unit: 'MiB/s',
    better: 'more',
    stores: (size, rounds) => rounds * size,
    take: async ({ side: { target }, size, name, load }) => {
      const { digests } = await load('push', { target, repository: name, bytes: size });
      const { seconds } = await load('pull', { target, repository: name, digests, bytes: size });
      return size / mebibyte / seconds;
    },
  };
}

/** @param {string} id @param {number} count @param {number} clients @returns {Measure} */
export function smallImages(id, count, clients) {
  return {
    id,
    title: `Push small images, ${clients} clients`,
    unit: 'images/s',
    better: 'more',
    take: async ({ side, name, load }) => {
      // What asks for a bcrypt each time would take minutes.
      const fewer = side.name.startsWith('nginx') ? Math.ceil(count / 20) : count;
      const images = { target: side.target, count: fewer, clients };
      // The first hundreds are what a program compiles itself with.
      await onceOn(side, 'images', () => load('images', { ...images, count: 2 * fewer, prefix: `${name}-first` }));
      const { seconds } = await load('images', { ...images, prefix: name });
      return fewer / seconds;
    },
  };
}

/** Connections that ask for manifests, and how many manifests there are. */
const askers = 16;

/** @returns {Measure[]} */
export function manifestRates() {
  const kinds = /** @type {const} */ (['GET', 'HEAD']).flatMap((method) =>
    /** @type {const} */ (['tag', 'digest']).map((by) =>
      rate(
        `manifest-${method.toLowerCase()}-${by}`,
        `${method} a manifest by ${by}, ${askers} connections`,
        method,
        by,
      ),
    ),
  );
  // Nobody asks for what another one asks for.
  return [...kinds, rate('manifest-get-tags', `GET ${askers} manifests by tag, each by one connection`, 'GET', 'tags')];
}

/** @param {string} id @param {string} title @param {'GET' | 'HEAD'} method @param {'tag' | 'digest' | 'tags'} by @returns {Measure} */
function rate(id, title, method, by) {
  return {
    id,
    title,
    unit: 'requests/s',
    better: 'more',
    take: async ({ side, load }) => {
      const paths = (await manifestsOf(side, load))[by];
      const rate = { target: side.target, method, paths, connections: askers, duration: 3 };
      // As with the first images.
      await onceOn(side, 'rate', () => load('rate', rate));
      return (await load('rate', rate)).perSecond;
    },
  };
}

/** What it holds when nothing was asked of it yet. @returns {Measure} */
export function memoryAtRest() {
  return {
    id: 'memory-rest',
    title: 'Memory at rest',
    unit: 'MiB',
    better: 'less',
    rounds: 1,
    take: ({ memory }) => Promise.resolve(memory.rss),
  };
}

/** What it holds at most while 10 GB arrive. @returns {Measure} */
export function memoryOfPushes() {
  const [bytes, clients] = [200_000_000, 50];
  return {
    id: 'memory-push',
    title: 'Memory, 50 pushes of 200 MB at once',
    unit: 'MiB',
    better: 'less',
    // 300 MB.
    most: 286,
    rounds: 1,
    stores: () => bytes * clients,
    take: async ({ side: { target }, name, load, memory }) => {
      await load('push', { target, repository: name, bytes, clients });
      return memory.rss;
    },
  };
}

/** Started before, so that nothing is installed, built or made. @returns {Measure} */
export function warmStart() {
  return {
    id: 'start',
    title: 'Start until ready',
    unit: 's',
    better: 'less',
    most: 1.5,
    take: ({ side }) => side.restart(),
  };
}

/** In a folder of which nothing is there: what is made at the first start is made. @returns {Measure} */
export function firstStart() {
  return {
    id: 'first-start',
    title: 'First start until ready',
    unit: 's',
    better: 'less',
    take: ({ side }) => side.restart(true),
  };
}

/** The same of containers, which were made before. @returns {Measure} */
export function containerStart() {
  return { ...warmStart(), id: 'container-start', title: 'Start of containers until ready' };
}

/** Adds what is wanted to measures, by their name. @param {Measure[]} measures @param {Record<string, Record<string, number>>} wanted */
export function wanting(measures, wanted) {
  return measures.map((measure) => ({ ...measure, ...(wanted[measure.id] && { wanted: wanted[measure.id] }) }));
}

/**
 * @param {string} id @param {string} what
 * @param {(size: number) => { bytes: number, chunk?: number, clients?: number }} loadOf
 * @returns {Measure}
 */
function throughput(id, what, loadOf) {
  const bytesOf = (/** @type {number} */ size) => {
    const { bytes, clients = 1 } = loadOf(size);
    return bytes * clients;
  };
  // As with the first images.
  const firstOnes = (/** @type {number} */ size) => Math.ceil(firstBytes / bytesOf(size));
  return {
    id,
    title: `Push ${what}`,
    unit: 'MiB/s',
    better: 'more',
    stores: (size, rounds) => (firstOnes(size) + rounds) * bytesOf(size),
    take: async (run) => {
      const load = { target: run.side.target, ...loadOf(run.size) };
      await onceOn(run.side, id, async () => {
        for (let left = firstOnes(run.size); left > 0; left -= 1)
          await run.load('push', { ...load, repository: `${run.name}-first` });
      });
      const { seconds } = await run.load('push', { ...load, repository: run.name });
      return bytesOf(run.size) / mebibyte / seconds;
    },
  };
}

/** Blobs that are pulled again and again, each a fraction of the size. @param {string} id @param {string} what @param {number} clients @param {number} fraction @returns {Measure} */
export function pulling(id, what, clients, fraction) {
  return {
    id,
    title: `Pull ${what}`,
    unit: 'MiB/s',
    better: 'more',
    stores: (size) => (size / fraction) * clients,
    take: async ({ side, size, load }) => {
      const [{ target }, bytes] = [side, size / fraction];
      const digests = await onceOn(side, id, async () => {
        const { digests } = await load('push', { target, repository: id, bytes, clients });
        // The first time has a measure of its own.
        await load('pull', { target, repository: id, digests, bytes });
        return digests;
      });
      const { seconds } = await load('pull', { target, repository: id, digests, bytes });
      return (bytes * clients) / mebibyte / seconds;
    },
  };
}

/** Manifests to ask for, pushed once: the first by tag and by digest, and all by tag. @param {Run['side']} side @param {Run['load']} load */
function manifestsOf(side, load) {
  return onceOn(side, 'manifests', async () => {
    const { target } = side;
    await load('images', { target, prefix: 'rates', count: askers, clients: 1 });
    const tags = Array.from({ length: askers }, (_, index) => `/v2/rates/${index % 10}/manifests/v${index}`);
    const [tag = ''] = tags;
    const { digest } = await load('ask', { target, path: tag, times: 1 });
    return { tag: [tag], digest: [`/v2/rates/0/manifests/${digest}`], tags };
  });
}

/**
 * What is made on a side before the first time that it is needed there.
 * @template Made
 * @param {Run['side']} side @param {string} key @param {() => Promise<Made>} make @returns {Promise<Made>}
 */
export async function onceOn({ state }, key, make) {
  if (!state.has(key)) state.set(key, await make());
  return /** @type {Made} */ (state.get(key));
}
