// `npm run bench:swift`: Wharfie, through the door and with authentication, against docker-registry without any, on one real
// Swift; and how many requests to Swift each operation makes. What Swift does costs this machine's time too.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomInt } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bench, mebibyte, need, readOptions } from './bench.mjs';
import { Connection } from './connection.mjs';
import { manifestRates, onceOn, pulling, pulls, pushes, smallImages, wanting } from './measures.mjs';
import { dockerRegistry, wharfie } from './sides.mjs';

/** @typedef {import('./bench.mjs').Measure} Measure */
/** @typedef {import('./bench.mjs').Run} Run */
/** @typedef {import('./bench.mjs').Side} Side */

const rival = 'docker-registry';
const swiftFolder = fileURLToPath(new URL('../swift/', import.meta.url));
const port = 11_000 + 40 * randomInt(500);
const container = 'bench';
const authUrl = `http://127.0.0.1:${port}/auth/v1.0`;
const [user, password] = ['test:tester', 'testing'];

const options = readOptions();
need('docker-registry');
const folder = await mkdtemp(join(tmpdir(), 'wharfie-bench-swift-'));
try {
  await run(join(swiftFolder, 'swift.sh'), ['start', folder, String(port)]);
  const rivalOnSwift = dockerRegistry(`redirect: { disable: true }
  swift: { authurl: "${authUrl}", username: "${user}", password: ${password}, container: ${container} }`);
  const sides = [
    wharfie({
      WHARFIE_STORAGE: 'swift',
      OS_AUTH_URL: authUrl,
      OS_AUTH_VERSION: '1',
      OS_USERNAME: user,
      OS_PASSWORD: password,
      OS_CONTAINER: container,
    }),
    rivalOnSwift,
  ];
  const [push, chunked] = pushes();
  const [pull] = pulls();
  const measures = [
    push,
    chunked,
    pull,
    // More than ten segments of distribution's: Swift slows those down. 400 MiB when the size is 256.
    pulling('pull-large', 'one blob of more than the size', 1, 256 / 400),
    smallImages('images', 12, 4),
    ...manifestRates().filter(({ id }) => id.startsWith('manifest-get-tag')),
    tagsPage(10_000),
  ].filter((measure) => measure !== undefined);
  await bench(
    'swift',
    [
      {
        title: 'Images in Swift',
        sides,
        measures: wanting(measures, {
          push: { [rival]: 2 },
          'push-chunked': { [rival]: 2 },
          pull: { [rival]: 2 },
          images: { [rival]: 2 },
        }),
      },
      {
        title: 'Swift without a registry',
        sides: [swiftItself(), rivalOnSwift],
        measures: push ? [pushWithout(push)] : [],
      },
      { title: 'Requests to Swift', sides, measures: requestCounts() },
    ],
    options,
  );
} finally {
  await run(join(swiftFolder, 'swift.sh'), ['stop', folder]);
  await rm(folder, { recursive: true });
}

/** Swift, with no registry before it. @returns {Side} */
function swiftItself() {
  return {
    name: 'Swift itself',
    start: async () => {
      const servers = join(folder, 'run');
      const pids = await Promise.all(
        (await readdir(servers)).map(async (name) => parseInt(await readFile(join(servers, name), 'utf8'), 10)),
      );
      const login = await fetch(authUrl, { headers: { 'x-auth-user': user, 'x-auth-key': password } });
      const token = login.headers.get('x-auth-token') ?? '';
      return { target: { host: '127.0.0.1', port, token }, processes: () => pids, stop: () => Promise.resolve() };
    },
  };
}

/** What any registry is bound by: the bytes of a push sent by one PUT, which nobody hashes or checks. @param {Measure} push @returns {Measure} */
function pushWithout(push) {
  return {
    ...push,
    id: 'push-without',
    title: 'The bytes of a push, without a registry',
    take: async (run) => {
      const { side, size, name, load } = run;
      if (side.name === rival) return push.take(run);
      const { seconds } = await load('store', {
        target: side.target,
        path: `/v1/AUTH_test/${container}/${name}`,
        bytes: size,
      });
      return size / mebibyte / seconds;
    },
  };
}

/** A page of 100 of many tags, which the container lists without having them. @param {number} count @returns {Measure} */
function tagsPage(count) {
  const tags = 'files/docker/registry/v2/repositories/many/tags/_manifests/tags';
  /** @type {Promise<void> | undefined} */
  let filled;
  return {
    id: 'tags',
    title: `100 of ${count} tags`,
    unit: 'ms',
    better: 'less',
    take: async ({ side, load }) => {
      filled ??= run(
        '/usr/bin/python3',
        ['-W', 'ignore', join(swiftFolder, 'serve.py'), folder, 'fill', container],
        Array.from({ length: count }, (_, index) => `${tags}/v${String(index).padStart(6, '0')}/current/link`).join(
          '\n',
        ),
      );
      await filled;
      const { milliseconds } = await load('ask', {
        target: side.target,
        path: '/v2/many/tags/tags/list?n=100',
        times: 3,
      });
      return milliseconds;
    },
  };
}

/** What each operation asks of Swift, of an instance that has pushed what it is asked for. @returns {Measure[]} */
function requestCounts() {
  /** @param {string} id @param {string} title @param {(run: Run, image: Image) => Promise<unknown>} perform @returns {Measure} */
  const counting = (id, title, perform) => ({
    id: `requests-${id}`,
    title,
    unit: 'requests',
    better: 'less',
    rounds: 1,
    take: async (run) => {
      const image = await imageOf(run);
      await requests();
      await perform(run, image);
      return (await requests()).filter((line) => !line.endsWith(' /v1/AUTH_test/bench/files?')).length;
    },
  });
  return [
    counting('image', 'A small image pushed', ({ side: { target }, name, load }) =>
      load('images', { target, prefix: name, count: 1, clients: 1 }),
    ),
    counting('manifest-tag', 'A manifest by tag', (run, { path }) => get(run, `${path}/manifests/v0`)),
    counting('manifest-digest', 'A manifest by digest', (run, { path, digest }) =>
      get(run, `${path}/manifests/${digest}`),
    ),
    counting('head', 'HEAD of a blob', (run, { path, layer }) => get(run, `${path}/blobs/${layer}`, 'HEAD')),
    counting('head-missing', 'HEAD of a blob that is not there', (run, { path }) =>
      get(run, `${path}/blobs/sha256:${'0'.repeat(64)}`, 'HEAD', 404),
    ),
    counting('blob', 'A blob pulled', (run, { path, layer }) => get(run, `${path}/blobs/${layer}`)),
    counting('push', 'One blob of the size pushed', ({ side: { target }, size, name, load }) =>
      load('push', { target, repository: name, bytes: size }),
    ),
    counting('chunked', 'The same in chunks of 16 MiB', ({ side: { target }, size, name, load }) =>
      load('push', { target, repository: name, bytes: size, chunk: 16 * 1024 * 1024 }),
    ),
  ];
}

/** @typedef {{ path: string, digest: string, layer: string }} Image */

/** An image that the side has pushed, once. @param {Run} run @returns {Promise<Image>} */
function imageOf({ side, load }) {
  return onceOn(side, 'image', async () => {
    const { target, name } = side;
    // Both sides share the container: each has a repository of its own.
    const prefix = `counts/${name.toLowerCase()}`;
    await load('images', { target, prefix, count: 1, clients: 1 });
    const path = `/v2/${prefix}/0`;
    const { body, digest } = await load('ask', { target, path: `${path}/manifests/v0`, times: 1 });
    const layer = /"layers":\[\{[^}]*"digest":"([^"]+)"/.exec(body)?.[1] ?? '';
    return { path, digest, layer };
  });
}

/** @param {Run} run @param {string} path @param {string} [method] @param {number} [status] */
async function get({ side: { target } }, path, method = 'GET', status = 200) {
  const connection = new Connection(target);
  await connection.expect(status, method, path, { accept: 'application/vnd.oci.image.manifest.v1+json' });
  connection.close();
}

/** Those that came to Swift since the last call. @returns {Promise<string[]>} */
async function requests() {
  return /** @type {Promise<string[]>} */ ((await fetch(`http://127.0.0.1:${port}/requests`)).json());
}

/** @param {string} file @param {string[]} args @param {string} [input] */
async function run(file, args, input = '') {
  const child = spawn(file, args, { stdio: ['pipe', 'inherit', 'inherit'] });
  child.stdin.end(input);
  await once(child, 'exit');
  if (child.exitCode !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${child.exitCode}`);
}
