import type { Command } from 'commander';
import { examineDoor, examineRegistries } from '../doctor/connections.js';
import { examineFiles } from '../doctor/files.js';
import type { Finding } from '../doctor/finding.js';
import { examineStorage } from '../doctor/storage.js';
import { examineTls } from '../doctor/tls.js';
import { allSettings, proxySettings } from '../settings.js';
import { examples } from './output.js';

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description(
      'check settings, files, permissions, storage, TLS and clocks, and say how to mend what is wrong: exits 1 when something must be mended',
    )
    .addHelpText('after', examples('wharfie doctor', 'WHARFIE_DATA=/srv/wharfie wharfie doctor'))
    .action(doctor);
}

async function doctor(): Promise<void> {
  let worst: Finding['state'] = 'ok';
  for await (const { state, about, text, remedy } of examine()) {
    process.stdout.write(`${state.padEnd(4)}  ${about}: ${text}${remedy === undefined ? '' : `; ${remedy}`}\n`);
    if (state === 'bad' || worst === 'ok') worst = state;
  }
  if (worst === 'bad') process.exitCode = 1;
}

/** Everything that is found, in the order in which one would mend it. */
async function* examine(): AsyncGenerator<Finding> {
  let settings, all;
  try {
    settings = proxySettings();
    all = allSettings();
  } catch (error) {
    // Without them nothing else can be looked at.
    yield { state: 'bad', about: 'settings', text: (error as Error).message };
    return;
  }
  const set = all.sources.filter(({ source }) => source !== 'default').map(({ source }) => source);
  yield {
    state: 'ok',
    about: 'settings',
    text: set.length === 0 ? 'none is set in this environment' : `set: ${set.join(', ')}`,
  };
  for (const { name, nearest } of settings.unknown) {
    const remedy = nearest === undefined ? 'remove it' : `did you mean ${nearest}?`;
    yield { state: 'warn', about: 'settings', text: `${name} is not a setting`, remedy };
  }
  yield* examineFiles(settings);
  yield* examineStorage(all.settings.registryAdminListen);
  yield* examineRegistries(settings);
  yield* examineTls(settings);
  yield* examineDoor(settings);
}
