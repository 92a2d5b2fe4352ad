// What is measured with Docker itself: a push of many layers, and the start of our containers.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from '../harness/free-port.mjs';
import { isInstalled } from '../harness/is-installed.mjs';
import { basic } from './sides.mjs';

const run = promisify(execFile);
const script = fileURLToPath(new URL('../docker/engine.sh', import.meta.url));
const baseImage = fileURLToPath(new URL('../docker/base-image.sh', import.meta.url));
const compose = fileURLToPath(new URL('../../docker-compose.yml', import.meta.url));
const layers = 50;
const layerSize = 256 * 1024;

/** Whether an engine can be had here. */
export async function canStartEngine() {
  if (process.getuid?.() !== 0 || !isInstalled('dockerd')) return false;
  return run('docker', ['compose', 'version']).then(
    () => true,
    () => false,
  );
}

/** @typedef {Awaited<ReturnType<typeof startEngine>>} Engine */

async function startEngine() {
  // Not below TMPDIR, which may be too long for the engine's sockets.
  const folder = await mkdtemp('/tmp/whb-');
  const { stdout } = await run(script, ['start', folder]);
  const env = {
    ...process.env,
    DOCKER_HOST: stdout.trim(),
    DOCKER_CONFIG: join(folder, 'client'),
    DOCKER_BUILDKIT: '0',
  };
  return { folder, env, docker: (/** @type {string[]} */ ...args) => run('docker', args, { env }) };
}

/** @type {Promise<Engine> | undefined} */
let started;

/** The benchmark's own engine, which starts when it is first needed. */
function engineOfOurs() {
  return (started ??= startEngine());
}

export async function stopEngine() {
  if (!started) return;
  const { folder } = await started;
  await run(script, ['stop', folder]);
  await rm(folder, { recursive: true, force: true });
}

/** @returns {import('./bench.mjs').Measure} */
export function dockerPush() {
  return {
    id: 'docker-push',
    title: `docker push of ${layers} layers`,
    unit: 's',
    better: 'less',
    rounds: 3,
    take: async ({ side: { target }, name }) => {
      const engine = await engineOfOurs();
      const registry = `${target.host}:${target.port}`;
      const image = `${registry}/${name}`;
      await writeConfiguration(engine, registry, target.authorization);
      await buildImage(engine, image);
      const start = performance.now();
      await engine.docker('push', '--quiet', image);
      const seconds = (performance.now() - start) / 1000;
      await engine.docker('rmi', image);
      return seconds;
    },
  };
}

/**
 * Wharfie in the containers of docker-compose.yml, ready when the registry answers through the door.
 * @returns {import('./bench.mjs').Side}
 */
export function wharfieInContainers() {
  const password = 'known to the test';
  const authorization = basic('admin', password);
  const containers = ['bench-registry-1', 'bench-proxy-1'];
  /** @type {number | undefined} */
  let port;
  return {
    name: 'Wharfie in containers',
    start: async (folder) => {
      const { docker, env } = await engineOfOurs();
      if (port === undefined) {
        port = await freePort();
        const settings = join(folder, 'env');
        await writeFile(settings, `WHARFIE_PUBLISH=127.0.0.1:${port}\nWHARFIE_ADMIN_PASSWORD=${password}\n`);
        await run(baseImage, [], { env });
        const project = ['--project-name', 'bench', '--env-file', settings, '--file', compose];
        await docker('compose', ...project, 'up', '--build', '--detach', '--wait');
        await docker('stop', ...containers);
      }
      await docker('start', ...containers);
      while (!(await isReady(port, authorization))) await delay(5);
      return {
        target: { host: '127.0.0.1', port, authorization },
        processes: () => [],
        stop: async () => {
          await docker('stop', ...containers);
        },
      };
    },
  };
}

/** @param {number} port @param {string} authorization */
async function isReady(port, authorization) {
  try {
    // The engine's own proxy takes connections before the container does, and keeps some of them waiting for ever.
    const signal = AbortSignal.timeout(100);
    return (await fetch(`http://127.0.0.1:${port}/v2/_catalog`, { headers: { authorization }, signal })).ok;
  } catch {
    return false;
  }
}

/** @param {Engine} engine @param {string} registry @param {string} [authorization] */
async function writeConfiguration({ folder }, registry, authorization) {
  const auths = authorization ? { [registry]: { auth: authorization.replace('Basic ', '') } } : {};
  await mkdir(join(folder, 'client'), { recursive: true });
  await writeFile(join(folder, 'client', 'config.json'), JSON.stringify({ auths }));
}

/** An image of layers that nobody has. @param {Engine} engine @param {string} image */
async function buildImage(engine, image) {
  const context = await mkdtemp(join(engine.folder, 'context-'));
  const names = Array.from({ length: layers }, (_, index) => `layer${index}`);
  for (const name of names) await writeFile(join(context, name), randomBytes(layerSize));
  await writeFile(join(context, 'Dockerfile'), ['FROM scratch', ...names.map((name) => `COPY ${name} /`)].join('\n'));
  await engine.docker('build', '--quiet', '--tag', image, context);
  await rm(context, { recursive: true });
}
