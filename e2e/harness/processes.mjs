// What runs below a process, and the memory that it holds. Linux only.
import { readFileSync, readdirSync } from 'node:fs';

/** @returns {number[]} */
export function allProcesses() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Every process below another. @param {number} root @returns {number[]} */
export function descendants(root) {
  /** @type {Map<number, number[]>} */
  const children = new Map();
  for (const pid of allProcesses()) {
    try {
      const parent = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), pid]);
    } catch {
      // It has ended meanwhile.
    }
  }
  /** @param {number} pid @returns {number[]} */
  const below = (pid) => (children.get(pid) ?? []).flatMap((child) => [child, ...below(child)]);
  return below(root);
}

/** @param {number} pid */
export function commandLine(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** Memory of processes together, in MiB: resident, and with what they share counted once, for which all that they have is walked. @param {number[]} pids */
export function memoryOf(pids) {
  return { rss: residentOf(pids), pss: sumOf(pids, 'smaps_rollup', mebibytes('Pss')) };
}

/** Memory of processes together, in MiB: resident. Looking costs them nothing. @param {number[]} pids */
export function residentOf(pids) {
  return sumOf(pids, 'status', mebibytes('VmRSS'));
}

/** Seconds of processor time that processes have used so far. @param {number[]} pids */
export function processorTimeOf(pids) {
  const ticks = sumOf(pids, 'stat', (stat) => {
    const fields = stat.split(') ').at(-1)?.split(' ') ?? [];
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks / 100;
}

/** What a file of each in `/proc` says, together; one that has ended meanwhile has none. @param {number[]} pids @param {string} file @param {(text: string) => number} valueIn */
function sumOf(pids, file, valueIn) {
  let sum = 0;
  for (const pid of pids) {
    try {
      sum += valueIn(readFileSync(`/proc/${pid}/${file}`, 'utf8'));
    } catch {
      // It has ended meanwhile.
    }
  }
  return sum;
}

/** Reads a line in kB; one that has ended and is yet to be waited for has no memory. @param {string} name */
function mebibytes(name) {
  const line = new RegExp(`^${name}:\\s+(\\d+)`, 'm');
  return (/** @type {string} */ text) => Number(line.exec(text)?.[1] ?? 0) / 1024;
}

/** The processes of Wharfie's services below `npm start`. @param {number} start its process */
export function servicesBelow(start) {
  return descendants(start).filter((pid) => commandLine(pid).some((part) => part.endsWith('/dist/main.js')));
}
