// What `npm start` does: from a fresh clone to a running registry. It needs nothing but Node, so it imports nothing else.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import util from 'node:util';

/** @typedef {import('node:child_process').ChildProcess} ChildProcess */
/** @typedef {{ name: string, child: ChildProcess, ready: Promise<Ready | undefined>, ended: Promise<Ending>, isReady: boolean }} Service */
/** @typedef {{ ready: true, url?: string, user?: string }} Ready */
/** @typedef {{ code: number | null, signal: NodeJS.Signals | null }} Ending */

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const oldestNode = [20, 19];
const packages = ['shared', 'registry', 'proxy'];
/** How often long work says that it goes on, in milliseconds. */
const patience = 10_000;
/** How much longer than WHARFIE_DRAIN a service may take to end, in milliseconds. */
const grace = 5_000;
/** Within how long a signal that comes again is the same one, in milliseconds. */
const sameSignal = 1_000;

/** Relative paths in the settings are relative to where the user is; npm itself has moved to the project. */
const whereTheUserIs = (process.env['npm_lifecycle_event'] === 'start' && process.env['INIT_CWD']) || process.cwd();

/** @type {Service[]} */
const services = [];
/** @type {ChildProcess | undefined} */
let preparing;
let stopping = false;
/** When we were told to stop, in milliseconds since 1970. */
let stoppingSince = 0;

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => {
    onSignal(signal);
  });
}
// Logs were rotated.
process.on('SIGUSR2', () => services.find(({ name }) => name === 'proxy')?.child.kill('SIGUSR2'));
// npm may be killed without a word to us, and nobody would be left to end this.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent && !stopping) onSignal('SIGTERM');
}, 1000).unref();
await main();

async function main() {
  checkNode();
  const isBuilding = isBuildStale();
  // `npm prune --omit=dev` leaves nothing to build with.
  const isCompiling = isBuilding || process.argv.includes('--dev');
  if (isInstallStale() || (isCompiling && !existsSync(tsc))) await installPackages();
  if (isBuilding) await build();
  await startBoth();
  if (process.argv.includes('--dev')) develop();
}

async function startBoth() {
  // The registry first: what keeps it from starting shows before the proxy has made an account and printed its password.
  start('registry');
  if (!(await isUp('registry'))) return;
  start('proxy');
  const ready = await isUp('proxy');
  if (ready && !stopping) explain(ready);
}

/** Builds anew whenever a source changes, and starts anew whenever something was built. */
function develop() {
  const builder = spawn(process.execPath, [tsc, '-b', '--watch', '--preserveWatchOutput'], {
    cwd: root,
    stdio: 'inherit',
  });
  process.once('exit', () => builder.kill());
  /** @type {NodeJS.Timeout | undefined} */
  let settled;
  for (const name of packages) {
    watch(join(root, name, 'dist'), { recursive: true }, (_, file) => {
      if (!file?.endsWith('.js')) return;
      clearTimeout(settled);
      settled = setTimeout(() => void restart(), 500);
    });
  }
}

async function restart() {
  if (stopping) return;
  await stop();
  services.length = 0;
  stopping = false;
  await startBoth();
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [needed = 0, neededMinor = 0] = oldestNode;
  if (major > needed || (major === needed && minor >= neededMinor)) return;
  fail(`Node ${oldestNode.join('.')} or later is needed, and this is ${process.versions.node}: install a newer one`);
}

/** Whether node_modules is missing or was installed for another lock file. */
function isInstallStale() {
  const wanted = join(root, 'package-lock.json');
  const installed = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return true;
  // A checkout renews the times of files that it does not change, so where times differ contents are compared.
  return statSync(wanted).mtimeMs > statSync(installed).mtimeMs && !isSameInstall(wanted, installed);
}

/** @param {string} wanted @param {string} installed */
function isSameInstall(wanted, installed) {
  const there = lockedPackages(installed);
  return Object.entries(lockedPackages(wanted)).every(([path, { version, optional }]) => {
    if (!path.startsWith('node_modules/')) return true;
    const found = there[path];
    return found ? found.version === version : optional === true;
  });
}

/** @param {string} path @returns {Record<string, { version?: string, optional?: boolean }>} */
function lockedPackages(path) {
  /** @type {unknown} */
  const lock = JSON.parse(readFileSync(path, 'utf8'));
  return /** @type {{ packages: Record<string, { version?: string, optional?: boolean }> }} */ (lock).packages;
}

async function installPackages() {
  const npm = process.env['npm_execpath'];
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []];
  await prepare('installing packages', command, [...args, 'ci', '--include=dev', '--no-audit', '--no-fund']);
}

/** Whether a package has sources that are newer than what was built from them. */
function isBuildStale() {
  return packages.some((name) => {
    const built = join(root, name, 'dist', '.tsbuildinfo');
    const sources = [...sourcesIn(join(root, name, 'src')), join(root, name, 'tsconfig.json')];
    return !existsSync(built) || sources.some((source) => statSync(source).mtimeMs > statSync(built).mtimeMs);
  });
}

/** @param {string} folder @returns {string[]} */
function sourcesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.test\.ts$/.test(entry.name) && !/[\\/]testing$/.test(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name));
}

async function build() {
  await prepare('building', process.execPath, [tsc, '-b']);
}

/** Runs something that takes long, and shows that it does. @param {string} what @param {string} command @param {string[]} args */
async function prepare(what, command, args) {
  say(`wharfie: ${what} …`);
  const start = Date.now();
  const seconds = () => Math.round((Date.now() - start) / 1000);
  const timer = setInterval(() => {
    say(`wharfie: still ${what}, ${seconds()} s`);
  }, patience);
  preparing = spawn(command, args, { cwd: root, stdio: 'inherit' });
  const { code } = await endOf(preparing);
  clearInterval(timer);
  preparing = undefined;
  if (code !== 0) fail(`${what} failed; the lines above say why`);
  say(`wharfie: ${what} took ${seconds()} s`);
}

/** @param {string} name */
function start(name) {
  const { NODE_ARGUMENTS, ...lean } = util.parseEnv(readFileSync(join(root, 'scripts', 'node.env'), 'utf8'));
  const options = [lean['NODE_OPTIONS'], process.env['NODE_OPTIONS'] ?? ''].join(' ').trim();
  const main = join(root, name, 'dist', 'main.js');
  // In a process group of its own: Ctrl-C reaches this process alone, which passes it on in the right order.
  const child = spawn(process.execPath, [...(NODE_ARGUMENTS?.match(/\S+/g) ?? []), main], {
    cwd: whereTheUserIs,
    detached: true,
    // Where containers are published is not where this one listens.
    env: { ...lean, ...process.env, NODE_OPTIONS: options, WHARFIE_PUBLISH: '' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = endOf(child);
  /** @type {Promise<Ready | undefined>} */
  const ready = new Promise((resolve) => {
    child.on('message', (message) => {
      if (/** @type {Partial<Ready>} */ (message).ready) resolve(/** @type {Ready} */ (message));
    });
    void ended.then(() => {
      resolve(undefined);
    });
  });
  const service = { name, child, ready, ended, isReady: false };
  services.push(service);
  void ready.then((message) => (service.isReady = message !== undefined));
  void ended.then((ending) => onEnded(service, ending));
}

/** @param {string} name */
async function isUp(name) {
  return services.find((service) => service.name === name)?.ready;
}

/** @param {ChildProcess} child @returns {Promise<Ending>} */
function endOf(child) {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ code, signal });
    });
    child.once('error', (error) => {
      const isMissing = /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT';
      complain(isMissing ? `${child.spawnfile} is not installed, or not in PATH` : error.message);
      resolve({ code: 1, signal: null });
    });
  });
}

/** One alone is of no use. @param {Service} service @param {Ending} ending */
async function onEnded({ name, isReady }, { code, signal }) {
  if (stopping) return;
  // A service that cannot start has said why itself.
  if (isReady || code !== 1)
    complain(`the ${name} ended by itself (${signal ?? `exit code ${code}`}); stopping the rest`);
  await stop();
  process.exit(1);
}

/** @param {NodeJS.Signals} signal */
function onSignal(signal) {
  if (stopping) {
    // One Ctrl-C comes twice below npm, which passes on what the terminal has sent to all already.
    if (Date.now() - stoppingSince < sameSignal) return;
    // Asked twice, nobody wants to wait.
    for (const service of services) killGroup(service);
    process.exit(1);
  }
  if (services.length === 0) {
    preparing?.kill(signal);
    process.exit(1);
  }
  void stop().then((isClean) => process.exit(isClean ? 0 : 1));
}

/** Ends the proxy, then the registry, which the proxy needs for as long as requests are under way. */
async function stop() {
  stopping = true;
  stoppingSince = Date.now();
  let isClean = true;
  for (const service of [...services].reverse()) {
    if (isRunning(service.child)) service.child.kill('SIGTERM');
    const late = setTimeout(() => {
      complain(`the ${service.name} does not end; killing it`);
      killGroup(service);
    }, drain() + grace);
    const { code } = await service.ended;
    clearTimeout(late);
    isClean &&= code === 0;
  }
  return isClean;
}

/** A service with its workers, which are in its process group. @param {Service} service */
function killGroup({ child }) {
  if (isRunning(child)) process.kill(-(child.pid ?? 0), 'SIGKILL');
}

/** How long a service waits for requests under way, in milliseconds; the services have checked it. */
function drain() {
  return Number(process.env['WHARFIE_DRAIN'] || 30) * 1000;
}

/** @param {ChildProcess} child */
function isRunning(child) {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/** @param {Ready} ready */
function explain({ url = '', user = 'NAME' }) {
  // A unix socket has no host: docker needs that of the proxy in front.
  const registry = new URL(process.env['WHARFIE_PUBLIC_URL'] || url).host || 'HOST';
  say(`
Wharfie is ready at ${url}. What to type next:

  docker login --username ${user} ${registry}
  docker tag IMAGE ${registry}/IMAGE
  docker push ${registry}/IMAGE

Ctrl-C ends it.
`);
}

/** @param {string} text */
function say(text) {
  process.stdout.write(`${text}\n`);
}

/** @param {string} text */
function complain(text) {
  process.stderr.write(`wharfie: ${text}\n`);
}

/** @param {string} text @returns {never} */
function fail(text) {
  complain(text);
  process.exit(1);
}
