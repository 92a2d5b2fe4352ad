import { SettingsError, makeFolder, reasonOf } from '@wharfie/shared';
import { access, chmod, constants, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultPolicy } from './access/policy.js';
import { editFile } from './files/replace-file.js';
import { setHash } from './htpasswd/file.js';
import { accountNameProblem, generatePassword, hashPassword, passwordProblem } from './htpasswd/password.js';
import type { ProxySettings } from './settings.js';

/** The files that say who may come in. */
export interface DataFiles {
  htpasswd: string;
  access: string;
}

export interface FirstAccount {
  user: string;
  /** A random one when undefined. */
  password: string | undefined;
  /** The variable that gave it. */
  passwordFrom?: string | undefined;
}

/** The account that the settings ask for where there is none. */
export function firstAccount({ adminUser, adminPassword, sources }: ProxySettings): FirstAccount {
  const passwordFrom = sources.find(({ setting }) => setting === 'WHARFIE_ADMIN_PASSWORD')?.source;
  return { user: adminUser, password: adminPassword, passwordFrom };
}

/** Where the two files of a data folder are that people edit. */
export function dataFiles(data: string): DataFiles {
  return { htpasswd: join(data, 'htpasswd'), access: join(data, 'access.yml') };
}

/**
 * Makes the data folder, for this user alone, when there is none.
 * @throws SettingsError when nothing can be written there
 */
export async function ensureDataFolder(data: string): Promise<void> {
  try {
    if (await makeFolder(data, 0o700)) await chmod(data, 0o700);
    await access(data, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const remedy = 'give it to the user that runs this, or set WHARFIE_DATA to a folder that may be written';
    throw new SettingsError('WHARFIE_DATA', `${data} cannot be made or written (${reasonOf(error)}): ${remedy}`);
  }
}

/** What to say where access.yml was missing beside accounts, and is made. */
export function policyMade({ access }: DataFiles, adminUser: string): string {
  return `${access} was missing and is made: every account of htpasswd may pull everything, and ${adminUser} may do everything; put your own there, or change that one, if this is not what you want`;
}

/**
 * Makes access.yml when it is missing.
 * @returns whether it was made for accounts that were there before
 * @throws SettingsError
 */
export async function ensurePolicy(files: DataFiles, adminUser: string): Promise<boolean> {
  const accounts = await exists(files.htpasswd);
  return (await ensure(files.access, () => defaultPolicy(adminUser))) && accounts;
}

/**
 * Whether the first account can be made, where there is none: before anything is made for it.
 * @throws SettingsError
 */
export async function checkFirstAccount(
  path: string,
  { user, password, passwordFrom = 'WHARFIE_ADMIN_PASSWORD' }: FirstAccount,
): Promise<void> {
  if (await exists(path)) return;
  const nameProblem = accountNameProblem(user);
  if (nameProblem) throw new SettingsError('WHARFIE_ADMIN_USER', `the name ${nameProblem}`);
  const problem = password === undefined ? undefined : passwordProblem(password);
  if (problem) throw new SettingsError(passwordFrom, problem);
}

/**
 * Makes htpasswd with the first account when it is missing. It comes last of what is made, so that little can fail between
 * its making and the one time that its password is shown.
 * @returns the random password of the account that was made; undefined when there was one, or when it was given
 * @throws SettingsError
 */
export async function ensureFirstAccount(path: string, first: FirstAccount): Promise<string | undefined> {
  if (await exists(path)) return undefined;
  const password = first.password ?? generatePassword();
  const line = setHash('', first.user, await hashPassword(password));
  const made = await ensure(path, () => line);
  return made && first.password === undefined ? password : undefined;
}

/** Whether the file was made; another process may do the same at the same time. */
async function ensure(path: string, content: () => string): Promise<boolean> {
  if (await exists(path)) return false;
  let made = false;
  try {
    await editFile(path, (text) => {
      made = text === undefined;
      return text ?? content();
    });
  } catch (error) {
    throw new SettingsError('WHARFIE_DATA', `${path} cannot be made: ${(error as Error).message}`);
  }
  return made;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw new SettingsError('WHARFIE_DATA', `${path} cannot be looked at (${reasonOf(error)})`);
    },
  );
}
