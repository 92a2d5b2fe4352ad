// What every benchmark shares: takes measures on several sides in turn, round after round, and reports medians, spread and
// ratios. Whatever slows this machine down slows all sides of a round, so a ratio is that of a round, and the median of those.
import { fork, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync } from 'node:fs';
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { isInstalled } from '../harness/is-installed.mjs';
import { processorTimeOf, residentOf } from '../harness/processes.mjs';
import { median, shown } from './numbers.mjs';
import { plot } from './plot.mjs';

/** @typedef {import('./connection.mjs').Target} Target */
/** @typedef {import('./load.mjs').Operations} Operations */

/**
 * Something that is measured, and how it is started in a folder of its own.
 * @typedef {object} Side
 * @property {string} name
 * @property {(folder: string) => Promise<Started>} start
 *
 * @typedef {object} Started
 * @property {Target} target
 * @property {() => number[]} processes those whose memory counts
 * @property {() => Promise<void>} stop
 *
 * @typedef {Started & { name: string, state: Map<string, unknown>, restart: (anew?: boolean) => Promise<number> }} Running `state` is for
 * what a measure keeps of it; `restart` ends it, starts it on the same folder or on a new one, and returns the seconds until it is ready
 *
 * @typedef {object} Measure
 * @property {string} id
 * @property {string} title
 * @property {string} unit
 * @property {'more' | 'less'} better
 * @property {Record<string, number>} [wanted] the ratio to another side that is wanted: at least, or, where less is better, at most
 * @property {number} [most] the most that is wanted, in its unit
 * @property {number} [rounds] fewer than usual, for what takes long
 * @property {(size: number, rounds: number) => number} [stores] bytes that it leaves on the disk of each side, when they are many
 * @property {(run: Run) => Promise<number>} take
 *
 * @typedef {object} Run
 * @property {Running} side
 * @property {number} size bytes of a big blob
 * @property {string} name unlike any other run's, for a repository
 * @property {Load} load
 * @property {{ rss: number }} memory the most that the side held during this run, so far, in MiB
 *
 * @typedef {<Name extends keyof Operations>(operation: Name, load: Parameters<Operations[Name]>[0]) => Promise<Awaited<ReturnType<Operations[Name]>>>} Load
 *
 * @typedef {object} Result
 * @property {string} id
 * @property {string} title
 * @property {string} unit
 * @property {'more' | 'less'} better
 * @property {Record<string, number>} wanted
 * @property {number} [most]
 * @property {Record<string, number[]>} values by side, round by round
 * @property {Record<string, number>} memory by side: the most that it held, in MiB
 * @property {Record<string, number[]>} processor by side, round by round: seconds of processor time that it used
 *
 * @typedef {object} Suite
 * @property {string} title
 * @property {Side[]} sides the first is the one whose ratio to the others is shown
 * @property {Measure[]} measures
 */

export const mebibyte = 1024 * 1024;

/** The command line that every benchmark takes. */
export function readOptions() {
  const { values } = parsed();
  if (values.help) {
    console.log(`Options:
  --only WORD     only measures whose name holds WORD; may be given more than once
  --size MIB      size of a big blob (256)
  --rounds N      how often each measure is taken on each side (5)
  --out FOLDER    where the results (JSON) and their plots (SVG) go (e2e/results)`);
    process.exit();
  }
  const [size, rounds] = [Number(values.size), Number(values.rounds)];
  if (!Number.isInteger(size) || size < 1) fail(`--size ${values.size}: a whole number of MiB, from 1`);
  if (!Number.isInteger(rounds) || rounds < 1) fail(`--rounds ${values.rounds}: a whole number, from 1`);
  return { only: values.only, size: size * mebibyte, rounds, out: values.out };
}

function parsed() {
  try {
    return parseArgs({
      options: {
        only: { type: 'string', multiple: true, default: [] },
        size: { type: 'string', default: '256' },
        rounds: { type: 'string', default: '5' },
        out: { type: 'string', default: 'e2e/results' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return fail(/** @type {Error} */ (error).message);
  }
}

/** Ends the program when one of these is missing; Debian's packages have the same names. @param {string[]} programs */
export function need(...programs) {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length > 0) fail(`not installed: ${missing.join(', ')}; on Debian: apt-get install ${missing.join(' ')}`);
}

/** Ends the program, before anything was started. @param {string} message @returns {never} */
function fail(message) {
  refuse(message);
  process.exit();
}

/** Has the program end with 2, as a command that was used wrongly does. @param {string} message */
function refuse(message) {
  console.error(message);
  process.exitCode = 2;
}

/** @param {string} id @param {string[]} only */
function isWanted(id, only) {
  return only.length === 0 || only.some((word) => id.includes(word));
}

/**
 * Takes all measures, prints tables, and writes the results to `<out>/<name>.json` and a plot of each beside it.
 * @param {string} name @param {Suite[]} suites @param {ReturnType<typeof readOptions>} options
 */
export async function bench(name, suites, options) {
  const wanted = suites
    .map((suite) => ({ ...suite, measures: suite.measures.filter(({ id }) => isWanted(id, options.only)) }))
    .filter(({ measures }) => measures.length > 0);
  const reason = wanted.length === 0 ? noSuchMeasure(suites, options) : await lackOfRoom(wanted, options);
  if (reason !== undefined) {
    refuse(reason);
    return;
  }
  if (congestionControl() === 'bbr')
    console.error('TCP is paced by bbr here, on loopback too: all sides are slower for it (docs/performance.md)');
  /** @type {{ title: string, sides: string[], results: Result[] }[]} */
  const done = [];
  const child = fork(new URL('load.mjs', import.meta.url));
  const interrupted = interruption();
  /** @type {Load} */
  const load = (operation, what) =>
    new Promise((resolve, reject) => {
      child.once('message', (/** @type {{ result: never, error?: string }} */ { result, error }) => {
        if (error === undefined) resolve(result);
        else reject(new Error(error));
      });
      child.send({ operation, load: what });
    });
  try {
    for (const { title, sides, measures } of wanted) {
      const endable = measures.map((measure) => ({
        ...measure,
        take: (/** @type {Run} */ run) => Promise.race([measure.take(run), interrupted]),
      }));
      const atRest = async (/** @type {string} */ side) => {
        // Only they make so many files that it matters.
        if (measures.some(({ id }) => id.startsWith('images')))
          await Promise.race([untilFilesAreMadeFast(side), interrupted]);
      };
      const results = await takeAll(sides, endable, options, load, atRest);
      const suite = { title, sides: sides.map((side) => side.name), results };
      done.push(suite);
      console.log(`\n## ${title}\n\n${table(suite)}`);
      await write(name, done, options);
    }
  } finally {
    child.kill();
  }
  console.log(`\nResults and plots: ${options.out}/${name}*`);
}

/** What to ask for instead. @param {Suite[]} suites @param {{ only: string[] }} options */
function noSuchMeasure(suites, { only }) {
  const names = suites.flatMap(({ measures }) => measures.map(({ id }) => id));
  return `--only ${only.join(' --only ')}: no measure's name holds that; there are ${names.join(', ')}`;
}

/** Bytes for what is small, on its way, or made by a measure that does not say. */
const spareRoom = 4 * 1024 * mebibyte;

/** What to do when the disk would be full before the end. @param {Suite[]} suites @param {{ size: number, rounds: number }} options */
async function lackOfRoom(suites, { size, rounds }) {
  const kept = suites.map(({ sides, measures }) => {
    const ofEach = measures.map((measure) => measure.stores?.(size, roundsOf(measure, rounds)) ?? 0);
    return sides.length * ofEach.reduce((sum, bytes) => sum + bytes, 0);
  });
  // What one suite leaves is removed before the next.
  const needed = Math.max(...kept) + spareRoom;
  const { bavail, bsize } = await statfs(tmpdir());
  const free = bavail * bsize;
  if (free >= needed) return undefined;
  const gigabytes = (/** @type {number} */ bytes) => Math.round(bytes / 1e9);
  return `${gigabytes(needed)} GB are needed in ${tmpdir()}, and ${gigabytes(free)} are free: fewer --rounds, \
a smaller --size, --only some measures, or TMPDIR=FOLDER with more room`;
}

/** Fails at the first SIGINT or SIGTERM, so that whatever was started is stopped. @returns {Promise<never>} */
function interruption() {
  /** @type {Promise<never>} */
  const interrupted = new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'])
      process.once(signal, () => {
        reject(new Error(`ended by ${signal}`));
      });
  });
  // Somebody waits for it only while a measure is taken.
  interrupted.catch(() => undefined);
  return interrupted;
}

/** @param {string} name @param {{ title: string, sides: string[], results: Result[] }[]} suites @param {ReturnType<typeof readOptions>} options */
async function write(name, suites, { size, rounds, out }) {
  const machine = {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? '',
    memory: `${Math.round(totalmem() / 1024 ** 3)} GiB`,
    kernel: release(),
    congestionControl: congestionControl(),
    node: process.version,
  };
  const report = { taken: new Date().toISOString(), machine, size, rounds, suites };
  await mkdir(out, { recursive: true });
  await writeFile(join(out, `${name}.json`), `${JSON.stringify(report, undefined, 2)}\n`);
  for (const { sides, results } of suites)
    for (const result of results) await writeFile(join(out, `${name}-${result.id}.svg`), plot(result, sides));
}

/** By what Linux decides how fast TCP sends. */
function congestionControl() {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}

/** @param {Side[]} sides @param {Measure[]} measures @param {{ rounds: number, size: number }} options @param {Load} load @param {(folder: string) => Promise<void>} atRest waits until a side's folder is */
async function takeAll(sides, measures, { rounds, size }, load, atRest) {
  const folder = await mkdtemp(join(tmpdir(), 'wharfie-bench-'));
  // On ext4 each side's files then lie apart, as far as there is room: one without a journal looks past what was removed a
  // moment ago when it makes a file beside it. Other file systems know no such thing.
  spawnSync('chattr', ['+T', folder]);
  /** @type {Running[]} */
  const running = [];
  try {
    for (const { name, start } of sides) {
      const own = await mkdtemp(join(folder, `${running.length}-`));
      await atRest(own);
      /** @type {Running} */
      const side = { name, state: new Map(), restart, ...(await start(own)) };
      running.push(side);
      async function restart(anew = false) {
        await side.stop();
        const where = anew ? await mkdtemp(join(folder, 'new-')) : own;
        const begun = performance.now();
        Object.assign(side, await start(where));
        return (performance.now() - begun) / 1000;
      }
    }
    /** @type {Result[]} */
    const results = [];
    for (const measure of measures) results.push(await takeOne(running, measure, rounds, size, load));
    return results;
  } finally {
    for (const side of running.reverse()) await side.stop();
    await rm(folder, { recursive: true });
  }
}

/** Milliseconds until files are made fast at most, and how often that is looked at. */
const [longestWait, waitPause] = [360_000, 15_000];

/**
 * An ext4 without a journal looks past each file that was removed in the last minutes, wherever it makes one: making files
 * is many times slower then, and slows down whoever makes the most in a second. Waits until it is over.
 * @param {string} folder of a side
 */
async function untilFilesAreMadeFast(folder) {
  for (let waited = 0; waited < longestWait; waited += waitPause) {
    const times = timesOfNewFiles(await mkdtemp(join(folder, 'probe-')));
    if (times < 3) return;
    console.error(`making a file takes ${shown(times)} times as long as renaming it, as many were removed: waiting`);
    await delay(waitPause);
  }
}

/** How much longer it takes to make a file than to rename it. They stay, lest they be looked past. @param {string} folder */
function timesOfNewFiles(folder) {
  const names = Array.from({ length: 100 }, (_, index) => join(folder, String(index)));
  const begun = performance.now();
  for (const name of names) closeSync(openSync(name, 'wx'));
  const made = performance.now();
  for (const name of names) renameSync(name, `${name}-renamed`);
  return (made - begun) / (performance.now() - made);
}

/** How often a measure is taken on each side. @param {Measure} measure @param {number} usual */
function roundsOf({ rounds }, usual) {
  return Math.min(usual, rounds ?? usual);
}

/** @param {Running[]} sides @param {Measure} measure @param {number} usual @param {number} size @param {Load} load @returns {Promise<Result>} */
async function takeOne(sides, measure, usual, size, load) {
  const { id, title, unit, better, wanted = {}, most, take } = measure;
  /** @type {Record<string, number[]>} */
  const values = Object.fromEntries(sides.map(({ name }) => [name, []]));
  /** @type {Record<string, number>} */
  const memory = Object.fromEntries(sides.map(({ name }) => [name, 0]));
  /** @type {Record<string, number[]>} */
  const processor = Object.fromEntries(sides.map(({ name }) => [name, []]));
  for (let round = 0; round < roundsOf(measure, usual); round += 1) {
    for (const side of sides) {
      // What the side before has left to the kernel to write is not this one's to wait for.
      spawnSync('sync');
      const watched = watchMemory(side);
      const name = `${id}-${round}-${Date.now()}`;
      const before = processorTimeOf(side.processes());
      const value = await take({ side, size, name, load, memory: watched.peak }).finally(watched.stop);
      values[side.name]?.push(value);
      processor[side.name]?.push(processorTimeOf(side.processes()) - before);
      memory[side.name] = Math.max(memory[side.name] ?? 0, watched.peak.rss);
      console.error(`${id} ${round + 1}: ${side.name} ${shown(value)} ${unit}`);
    }
  }
  return { id, title, unit, better, wanted, ...(most && { most }), values, memory, processor };
}

/** @param {Running} side */
function watchMemory(side) {
  const peak = { rss: 0 };
  const look = () => {
    peak.rss = Math.max(peak.rss, residentOf(side.processes()));
  };
  look();
  const timer = setInterval(look, 200);
  return {
    peak,
    stop: () => {
      clearInterval(timer);
      look();
    },
  };
}

/** @param {{ sides: string[], results: Result[] }} suite */
function table({ sides, results }) {
  const [first = '', ...rivals] = sides;
  const heads = [
    'measure',
    'unit',
    ...sides,
    ...rivals.map((rival) => `${first} : ${rival}`),
    'wanted',
    'most memory, MiB',
    'processor, s',
  ];
  const rows = results.map((result) => [
    result.title,
    result.unit,
    ...sides.map((side) => spread(result.values[side] ?? [])),
    ...rivals.map((rival) => `${shown(ratio(result, first, rival))}×`),
    [
      ...Object.entries(result.wanted).map(
        ([rival, times]) => `${result.better === 'more' ? '≥' : '≤'} ${times}× ${rival}`,
      ),
      ...(result.most ? [`≤ ${result.most} ${result.unit}`] : []),
    ].join(', '),
    // What runs in containers is not looked at.
    sides.map((side) => Math.round(result.memory[side] ?? 0) || '?').join(' / '),
    sides.map((side) => (result.memory[side] ? shown(median(result.processor[side] ?? [])) : '?')).join(' / '),
  ]);
  return [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** The median of the ratios of the rounds. @param {Result} result @param {string} first @param {string} rival */
function ratio({ values }, first, rival) {
  const others = values[rival] ?? [];
  return median((values[first] ?? []).map((value, round) => value / (others[round] ?? NaN)));
}

/** @param {number[]} values */
function spread(values) {
  const range = values.length > 1 ? ` (${shown(Math.min(...values))}–${shown(Math.max(...values))})` : '';
  return `${shown(median(values))}${range}`;
}
