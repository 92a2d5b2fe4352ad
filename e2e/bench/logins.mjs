// What wrong logins cost those who are in: requests of an account, one after the other, while nobody else asks and while
// eight wrong passwords are checked at a time. Rounds take turns, so that whatever slows this machine down slows both.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { freePort } from '../harness/free-port.mjs';
import { startWharfie } from '../harness/start-wharfie.mjs';

const rounds = 5;
const roundMilliseconds = 4000;
const wrongAtOnce = 8;

if (parseArgs({ options: { help: { type: 'boolean' } } }).values.help) {
  console.log('What requests notice of wrong passwords; takes no options.');
  process.exit();
}
const root = await mkdtemp(join(tmpdir(), 'wharfie-logins-'));
const admin = `127.0.0.1:${await freePort()}`;
const wharfie = await startWharfie({
  WHARFIE_DATA: join(root, 'data'),
  WHARFIE_ADMIN_LISTEN: admin,
  WHARFIE_LOG_LEVEL: 'error',
  // Each guess comes from another address, so that none has to wait.
  WHARFIE_TRUSTED_PROXIES: '127.0.0.1',
});
let guesses = 0;
try {
  await wharfie.fetch('/v2/');
  /** @type {Record<'alone' | 'beside', { times: number[], delays: number[] }>} */
  const measured = { alone: { times: [], delays: [] }, beside: { times: [], delays: [] } };
  for (let round = 0; round <= rounds; round += 1) {
    for (const side of /** @type {const} */ (['alone', 'beside'])) {
      const { times, delay } = await ask(side === 'beside');
      // The first round warms up.
      if (round === 0) continue;
      measured[side].times.push(...times);
      measured[side].delays.push(delay);
    }
  }
  console.log(`${rounds} rounds of ${roundMilliseconds / 1000} s, ${guesses} wrong passwords checked`);
  console.log('                     requests/s   median ms   99th ms   event loop delay, 99th ms (median of rounds)');
  for (const [side, { times, delays }] of Object.entries(measured)) {
    const rate = times.length / ((rounds * roundMilliseconds) / 1000);
    const cells = [rate.toFixed(0), at(times, 0.5).toFixed(2), at(times, 0.99).toFixed(2), at(delays, 0.5).toFixed(1)];
    const label = side === 'alone' ? 'nobody else' : `${wrongAtOnce} wrong at a time`;
    console.log(`  ${label.padEnd(18)} ${cells.map((cell) => cell.padStart(10)).join('  ')}`);
  }
} finally {
  await wharfie.stop();
  await rm(root, { recursive: true });
}

/** @param {boolean} beside @returns {Promise<{ times: number[], delay: number }>} */
async function ask(beside) {
  const end = performance.now() + roundMilliseconds;
  // Begins the measuring of the delay anew.
  await loopDelay();
  const guessers = Array.from({ length: beside ? wrongAtOnce : 0 }, () => guessUntil(end));
  const times = [];
  while (performance.now() < end) {
    const start = performance.now();
    const response = await wharfie.fetch('/v2/');
    await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`the account was answered ${response.status}`);
    times.push(performance.now() - start);
  }
  const delay = await loopDelay();
  await Promise.all(guessers);
  return { times, delay };
}

/** @param {number} end */
async function guessUntil(end) {
  while (performance.now() < end) {
    guesses += 1;
    const from = `10.${guesses >> 16}.${(guesses >> 8) & 255}.${guesses & 255}`;
    const authorization = `Basic ${Buffer.from(`name${guesses}:wrong`).toString('base64')}`;
    const response = await fetch(`http://${wharfie.address}/v2/`, {
      headers: { authorization, 'x-forwarded-for': from },
    });
    await response.arrayBuffer();
    if (response.status !== 401) throw new Error(`a wrong password was answered ${response.status}`);
  }
}

/** In milliseconds, since it was asked last. */
async function loopDelay() {
  const page = await (await fetch(`http://${admin}/metrics`)).text();
  return Number(/^nodejs_eventloop_lag_p99_seconds (\S+)/m.exec(page)?.[1]) * 1000;
}

/** @param {number[]} values @param {number} part */
function at(values, part) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * part)] ?? NaN;
}
