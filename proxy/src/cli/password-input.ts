import { leastCost, mostCost } from '@wharfie/shared';
import { text } from 'node:stream/consumers';
import { Writable } from 'node:stream';
import { createInterface } from 'node:readline';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { generatePassword, passwordProblem } from '../htpasswd/password.js';
import { Refused } from './refused.js';

const byStdin = 'give it by --password-stdin';
const costs = `${leastCost} to ${mostCost}`;

export interface PasswordOptions {
  passwordStdin?: true;
  generate?: true;
}

export interface NewPasswordOptions extends PasswordOptions {
  cost: number;
}

/**
 * Adds the options by which a new password is given. There is none that takes it as an argument, where `ps` shows it.
 */
export function newPasswordOptions(command: Command): Command {
  return command
    .addOption(stdinOption())
    .addOption(new Option('--generate', 'make a strong password and print it, once').conflicts('passwordStdin'))
    .addOption(
      new Option('--cost <number>', `bcrypt's cost, ${costs}: one more doubles the time`).default(10).argParser(cost),
    );
}

export function stdinOption(): Option {
  return new Option('--password-stdin', 'read the password from standard input, one line');
}

/**
 * A new password: generated, from standard input, or asked for twice.
 * @throws Refused when it cannot be used
 */
export async function newPassword(options: PasswordOptions): Promise<string> {
  if (options.generate) return generatePassword();
  return usable(options.passwordStdin ? await piped() : await askedTwice());
}

/**
 * A password to check: from standard input, or asked for once.
 * @throws Refused when it cannot be anybody's
 */
export async function givenPassword(options: PasswordOptions): Promise<string> {
  if (options.passwordStdin) return usable(await piped());
  const [password = ''] = await ask(byStdin, 'Password: ');
  return usable(password);
}

function usable(password: string): string {
  const problem = passwordProblem(password);
  if (problem) throw new Refused(problem);
  return password;
}

async function piped(): Promise<string> {
  const password = (await text(process.stdin)).replace(/\r?\n$/, '');
  if (/[\r\n]/.test(password)) throw new Error('standard input holds more than one line: give the password alone');
  return password;
}

async function askedTwice(): Promise<string> {
  const [password = '', again] = await ask(
    `${byStdin}, or have one made by --generate`,
    'New password: ',
    'The same again: ',
  );
  if (password !== again) throw new Refused('the two passwords differ: try again');
  return password;
}

/** The answers typed at the terminal, which shows nothing of them. */
async function ask(remedy: string, ...questions: string[]): Promise<string[]> {
  if (!process.stdin.isTTY) {
    throw new Error(`there is no terminal to ask for the password at: ${remedy}`);
  }
  const nowhere = new Writable({
    write(_chunk, _encoding, done) {
      done();
    },
  });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 });
  terminal.on('SIGINT', () => {
    terminal.close();
  });
  const lines = terminal[Symbol.asyncIterator]();
  const answers: string[] = [];
  try {
    for (const question of questions) {
      process.stderr.write(question);
      const answer = await lines.next();
      process.stderr.write('\n');
      if (answer.done) throw new Refused('nothing was changed, no password was given');
      answers.push(answer.value);
    }
  } finally {
    terminal.close();
  }
  return answers;
}

function cost(value: string): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= leastCost && number <= mostCost) return number;
  throw new InvalidArgumentError(`it must be a whole number from ${costs}.`);
}
