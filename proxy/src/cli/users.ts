import type { Command } from 'commander';
import { groupsOf, mentions, pushable } from '../access/decide.js';
import { editFile } from '../files/replace-file.js';
import { ensureDataFolder } from '../first-start.js';
import { parseHtpasswd, removeUser, setHash, shown, type Htpasswd } from '../htpasswd/file.js';
import { hashPassword } from '../htpasswd/password.js';
import { Verifier } from '../htpasswd/verifier.js';
import { checkName, files, readPolicy, readUsers, type Files } from './files.js';
import { examples, say, table } from './output.js';
import {
  givenPassword,
  newPassword,
  newPasswordOptions,
  stdinOption,
  type NewPasswordOptions,
  type PasswordOptions,
} from './password-input.js';
import { Refused } from './refused.js';

const listed = '`wharfie users list` shows which there are';

export function addUserCommands(program: Command): void {
  const users = program
    .command('users')
    .description('the accounts in htpasswd')
    .addHelpText('after', examples('wharfie users list', 'wharfie users add bob', 'wharfie users add --help'));

  users
    .command('list')
    .description('names, groups, hash kind and cost, and what each may push')
    .addHelpText('after', examples('wharfie users list'))
    .action(list);

  newPasswordOptions(users.command('add').description('make an account; asks for its password').argument('<name>'))
    .addHelpText(
      'after',
      examples(
        'wharfie users add bob',
        'wharfie users add ci --generate',
        'wharfie users add ci --password-stdin < file',
      ),
    )
    .action(add);

  newPasswordOptions(users.command('passwd').description('give an account another password').argument('<name>'))
    .addHelpText('after', examples('wharfie users passwd bob', 'wharfie users passwd ci --generate'))
    .action(passwd);

  users
    .command('remove')
    .description('remove an account, and say where access.yml still names it')
    .argument('<name>')
    .addHelpText('after', examples('wharfie users remove bob'))
    .action(remove);

  users
    .command('verify')
    .description('check a password: exits 0 when it is right, 1 when it is not')
    .argument('<name>')
    .addOption(stdinOption())
    .addHelpText('after', examples('wharfie users verify bob', 'wharfie users verify ci --password-stdin < file'))
    .action(verify);
}

async function list(): Promise<void> {
  const place = files();
  const htpasswd = await readUsers(place);
  if (!htpasswd) throw noAccounts(place);
  const policy = await readPolicy(place).catch((error: unknown) => {
    say(`${(error as Error).message}; groups and what each may push are unknown until that is mended`);
  });
  const rows = [...htpasswd.users].map(([name, { kind, bcrypt }]) => [
    shown(name),
    (policy && groupsOf(policy, name).join(', ')) || '-',
    bcrypt ? kind : `${kind}: cannot log in`,
    bcrypt ? String(bcrypt.cost) : '-',
    (policy && pushable(policy, name).join(', ')) || '-',
  ]);
  process.stdout.write(table([['name', 'groups', 'hash', 'cost', 'may push'], ...rows]));
  for (const warning of htpasswd.warnings) say(`${place.htpasswd}: ${warning}`);
}

async function add(name: string, options: NewPasswordOptions): Promise<void> {
  checkName(name);
  const place = files();
  await ensureDataFolder(place.data);
  await writePassword(place, name, options, refuseKnown);
  say(`${shown(name)} can log in within a second`);
}

async function passwd(name: string, options: NewPasswordOptions): Promise<void> {
  const remedy = `make it by \`wharfie users add ${shown(name)}\``;
  await writePassword(files(), name, options, (_, users) => {
    refuseUnknown(name, users, remedy);
  });
  say(`${shown(name)} has another password within a second`);
}

/** Asks only when `check` lets the name pass, and has it checked again under the file's lock. */
async function writePassword(
  place: Files,
  name: string,
  options: NewPasswordOptions,
  check: (name: string, users: Htpasswd['users'] | undefined) => void,
): Promise<void> {
  const known = (await readUsers(place))?.users;
  check(name, known);
  const password = await newPassword(options);
  const hash = await hashPassword(password, options.cost);
  await editFile(place.htpasswd, (text = '') => {
    check(name, parseHtpasswd(text).users);
    return setHash(text, name, hash);
  });
  if (!known) say(`${place.htpasswd} was missing and is made: it has no other account`);
  if (options.generate) {
    process.stdout.write(`${password}\n`, (error) => {
      if (error) say(`the password is set and nobody saw it: run \`wharfie users passwd ${shown(name)}\``);
    });
  }
}

async function remove(name: string): Promise<void> {
  const place = files();
  if (!(await readUsers(place))) throw noAccounts(place);
  await editFile(place.htpasswd, (text = '') => {
    refuseUnknown(name, parseHtpasswd(text).users);
    return removeUser(text, name);
  });
  process.stdout.write(`${shown(name)} is removed\n`);
  const policy = await readPolicy(place).catch((error: unknown) => {
    say(`${(error as Error).message}; whether it still names ${shown(name)} is unknown until that is mended`);
  });
  for (const { line, where } of policy ? mentions(policy, name) : []) {
    process.stdout.write(`${place.access} line ${line} still names ${shown(name)}: ${where}\n`);
  }
}

async function verify(name: string, options: PasswordOptions): Promise<void> {
  const place = files();
  const htpasswd = await readUsers(place);
  if (!htpasswd) throw noAccounts(place);
  refuseUnknown(name, htpasswd.users);
  if (!htpasswd.users.get(name)?.bcrypt) {
    throw new Refused(
      `${shown(name)} cannot log in with any password, its hash is not accepted: run \`wharfie users passwd ${shown(name)}\``,
    );
  }
  const password = await givenPassword(options);
  const verifier = new Verifier({ current: htpasswd });
  try {
    if (!(await verifier.verify(name, password))) throw new Refused(`that is not the password of ${shown(name)}`);
  } finally {
    await verifier.destroy();
  }
  process.stdout.write(`that is the password of ${shown(name)}\n`);
}

function refuseKnown(name: string, users: Htpasswd['users'] | undefined): void {
  if (!users?.has(name)) return;
  const remedy = `give it another password by \`wharfie users passwd ${shown(name)}\``;
  throw new Refused(`there is an account ${shown(name)} already: ${remedy}`);
}

function refuseUnknown(name: string, users: Htpasswd['users'] | undefined, remedy = listed): void {
  if (!users?.has(name)) throw new Refused(`there is no account ${shown(name)}: ${remedy}`);
}

function noAccounts({ htpasswd }: Files): Error {
  return new Error(`${htpasswd} does not exist: make the first account by \`wharfie users add NAME\``);
}
