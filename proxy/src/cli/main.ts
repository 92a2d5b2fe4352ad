import { reasonOf } from '@wharfie/shared';
import { CommanderError, type Command } from 'commander';
import { say } from './output.js';
import { createProgram } from './program.js';
import { Refused } from './refused.js';

// What the shell sees, as grep has it: 0 yes, 1 no, 2 no answer.
const refused = 1;
const wrong = 2;

const program = createProgram();

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Who read it, as `head` does, has seen enough; what is done, and how it ends, stays the same.
  if (error.code === 'EPIPE') return;
  say(`standard output cannot be written (${reasonOf(error)}): make room, or send it elsewhere`);
  process.exit(wrong);
});
// There is nowhere left to say so.
process.stderr.on('error', () => undefined);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCode(error);
}

function exitCode(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    // Without a command commander has shown the help already.
    if (error.code !== 'commander.help')
      say(`${oneLine(error.message).replace(/^error: |\.$/g, '')}: see \`${asked()} --help\``);
    return wrong;
  }
  say(oneLine((error as Error).message));
  return error instanceof Refused ? refused : wrong;
}

/** The command that was meant, as far as it is one. */
function asked(): string {
  const names: string[] = [program.name()];
  let command: Command | undefined = program;
  for (const word of program.args) {
    command = command.commands.find((candidate) => candidate.name() === word);
    if (!command) break;
    names.push(word);
  }
  return names.join(' ');
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, ' ');
}
