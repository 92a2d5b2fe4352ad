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

/** Memory of processes together, in MiB: resident, and with what they share counted once. @param {number[]} pids */
export function memoryOf(pids) {
  const total = { rss: 0, pss: 0 };
  for (const pid of pids) {
    try {
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      total.rss += Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1]) / 1024;
      total.pss += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]) / 1024;
    } catch {
      // It has ended meanwhile.
    }
  }
  return total;
}

/** Memory of processes together, in MiB: resident. Looking costs them nothing, where `memoryOf` walks all that they have. @param {number[]} pids */
export function residentOf(pids) {
  let kibibytes = 0;
  for (const pid of pids) {
    try {
      kibibytes += Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      // It has ended meanwhile.
    }
  }
  return kibibytes / 1024;
}

/** Seconds of processor time that processes have used so far. @param {number[]} pids */
export function processorTimeOf(pids) {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended meanwhile.
    }
  }
  return ticks / 100;
}

/** The processes of Wharfie's services below `npm start`. @param {number} start its process */
export function servicesBelow(start) {
  return descendants(start).filter((pid) => commandLine(pid).some((part) => part.endsWith('/dist/main.js')));
}
