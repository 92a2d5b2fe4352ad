import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Engine } from '../docker/engine.js';
import { writeLayout } from './oci-layout.js';
import type { Requirement } from './requirements.js';
import { must, run, type Result } from './run.js';

/** What people push and pull with, with storage and credentials of its own and one small image at hand. */
export interface Client {
  /** Undefined for one that keeps no login; see `use`. */
  login?: (address: string, user: string, password: string) => Promise<Result>;
  logout?: (address: string) => Promise<Result>;
  /** The credentials from now on, of a client without a login; none when undefined. */
  use?: (credentials: string | undefined) => void;
  push(reference: string): Promise<Result>;
  pull(reference: string): Promise<Result>;
  dispose(): Promise<void>;
}

export interface Tool {
  name: string;
  needs: readonly Requirement[];
  start(): Promise<Client>;
}

const layers = 3;
const plain = '--tls-verify=false';

export const tools: readonly Tool[] = [
  { name: 'Docker', needs: ['root', 'docker'], start: startDocker },
  { name: 'skopeo', needs: ['skopeo'], start: startSkopeo },
  { name: 'podman', needs: ['root', 'podman'], start: () => startStore('podman', ['--cgroup-manager=cgroupfs']) },
  { name: 'buildah', needs: ['root', 'buildah'], start: () => startStore('buildah', []) },
  { name: 'containerd', needs: ['root', 'containerd'], start: startContainerd },
];

async function startDocker(): Promise<Client> {
  const [engine, context] = await Promise.all([Engine.start(), temporaryFolder()]);
  const names = Array.from({ length: layers }, (_, n) => `file${n}`);
  for (const name of names) await writeFile(join(context, name), randomBytes(50_000));
  const copies = names.map((name) => `COPY ${name} /${name}\n`).join('');
  await writeFile(join(context, 'Dockerfile'), `FROM scratch\n${copies}CMD ["/file0"]\n`);
  await engine.must(['build', '--quiet', '--tag', 'app', context]);
  return {
    login: (address, user, password) => engine.login(address, user, password),
    logout: (address) => engine.docker(['logout', address]),
    push: async (reference) => {
      await engine.must(['tag', 'app', reference]);
      return engine.docker(['push', reference]);
    },
    pull: (reference) => engine.docker(['pull', reference]),
    dispose: async () => {
      await engine.stop();
      await rm(context, { recursive: true });
    },
  };
}

async function startSkopeo(): Promise<Client> {
  const folder = await temporaryFolder();
  await writeLayout(join(folder, 'image'), ['amd64'], layers);
  const skopeo = (args: string[], input?: string) =>
    run('skopeo', args, { env: homeIn(folder), ...(input === undefined ? {} : { input }) });
  const copy = (args: string[]) => skopeo(['--insecure-policy', 'copy', ...args]);
  return {
    ...loginsOf(skopeo),
    push: (reference) =>
      copy([`--dest-${plain.slice(2)}`, `oci:${join(folder, 'image')}:latest`, `docker://${reference}`]),
    pull: (reference) =>
      copy([`--src-${plain.slice(2)}`, `docker://${reference}`, `dir:${join(folder, randomBytes(8).toString('hex'))}`]),
    dispose: () => rm(folder, { recursive: true }),
  };
}

/** podman or buildah, on a storage that needs no kernel's help. */
async function startStore(command: 'podman' | 'buildah', more: readonly string[]): Promise<Client> {
  const folder = await temporaryFolder();
  await writeLayout(join(folder, 'image'), ['amd64'], layers);
  const flags = [...more, `--root=${join(folder, 'root')}`, `--runroot=${join(folder, 'run')}`, '--storage-driver=vfs'];
  const call = (args: string[], input?: string) =>
    run(command, [...flags, ...args], { env: homeIn(folder), ...(input === undefined ? {} : { input }) });
  // From within, because the image is named after its path, which may not have capitals.
  const options = { env: homeIn(folder), cwd: folder };
  const pulled = await must(command, [...flags, 'pull', '--quiet', 'oci:image:latest'], options);
  return {
    ...loginsOf(call),
    push: (reference) => call(['push', plain, pulled.trim(), `docker://${reference}`]),
    pull: (reference) =>
      call(['pull', ...(command === 'buildah' ? ['--policy=always'] : []), plain, `docker://${reference}`]),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
}

/** containerd's own client. */
async function startContainerd(): Promise<Client> {
  const folder = await temporaryFolder();
  await writeLayout(join(folder, 'image'), ['amd64'], layers);
  await must('tar', ['-C', join(folder, 'image'), '-cf', join(folder, 'image.tar'), '.']);
  const socket = join(folder, 'c.sock');
  const places = ['--root', join(folder, 'root'), '--state', join(folder, 'state')];
  const daemon = spawn('containerd', ['--address', socket, ...places], { stdio: ['ignore', 'ignore', 'pipe'] });
  await saysThatItServes(daemon);
  const ctr = (args: string[]) => run('ctr', ['--address', socket, ...args]);
  const imported = await ctr(['images', 'import', '--no-unpack', '--base-name', 'app', join(folder, 'image.tar')]);
  if (imported.code !== 0) throw new Error(imported.stderr);
  const local = (await must('ctr', ['--address', socket, 'images', 'list', '--quiet'])).trim();
  let credentials: string[] = [];
  return {
    use: (pair) => (credentials = pair === undefined ? [] : ['--user', pair]),
    push: (reference) => ctr(['images', 'push', '--plain-http', ...credentials, reference, local]),
    pull: (reference) => ctr(['images', 'pull', '--plain-http', '--snapshotter=native', ...credentials, reference]),
    dispose: async () => {
      daemon.kill();
      await once(daemon, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function saysThatItServes(daemon: ChildProcess): Promise<void> {
  let said = '';
  await new Promise<void>((resolve, reject) => {
    daemon.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('containerd successfully booted')) resolve();
    });
    daemon.once('exit', () => {
      reject(new Error(`containerd ended: ${said.slice(-2000)}`));
    });
  });
}

/** The logins of everything that is made of containers/image. */
function loginsOf(call: (args: string[], input?: string) => Promise<Result>): Pick<Client, 'login' | 'logout'> {
  return {
    login: (address, user, password) =>
      call(['login', plain, '--username', user, '--password-stdin', address], password),
    logout: (address) => call(['logout', address]),
  };
}

/** Not below TMPDIR, which may be too long for the sockets of engines. */
async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp('/tmp/whc-');
  await mkdir(join(folder, 'home'));
  await writeFile(join(folder, 'home', 'auth.json'), '{}');
  return folder;
}

/** An environment in which a client finds nobody's credentials but its own. */
function homeIn(folder: string): Record<string, string> {
  const home = join(folder, 'home');
  return { HOME: home, XDG_RUNTIME_DIR: home, REGISTRY_AUTH_FILE: join(home, 'auth.json'), DOCKER_CONFIG: home };
}
