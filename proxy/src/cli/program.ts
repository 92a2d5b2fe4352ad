import { Command } from 'commander';
import { readFileSync } from 'node:fs';
import { addAccessCommands } from './access.js';
import { addDoctorCommand } from './doctor.js';
import { examples } from './output.js';
import { addUserCommands } from './users.js';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** `wharfie` with all its commands; docs/commands.md is written from it. */
export function createProgram(): Command {
  const program = new Command('wharfie')
    .description('Accounts and access of a Wharfie registry. The files are in WHARFIE_DATA, by default ./data.')
    .addHelpText(
      'after',
      examples(
        'wharfie users add bob',
        "wharfie access grant bob push 'team/**'",
        'wharfie doctor',
        'wharfie users --help',
      ),
    )
    .version(version)
    .exitOverride()
    .configureOutput({
      outputError: () => {
        // main.ts says it, on one line.
      },
    });
  addUserCommands(program);
  addAccessCommands(program);
  addDoctorCommand(program);
  return program;
}
