import { missing, readOrdinaryFile } from '@wharfie/shared';
import { parsePolicy, PolicyError, type Policy } from '../access/policy.js';
import { withFile } from '../files/file-problem.js';
import { dataFiles, type DataFiles } from '../first-start.js';
import { parseHtpasswd, type Htpasswd } from '../htpasswd/file.js';
import { accountNameProblem } from '../htpasswd/password.js';
import { commandSettings } from '../settings.js';

/** The files that the commands read and change, as the settings say. */
export interface Files extends DataFiles {
  data: string;
  adminUser: string;
}

/** @throws SettingsError */
export function files(): Files {
  const settings = commandSettings();
  return { ...settings, ...dataFiles(settings.data) };
}

/** @throws Error when no account can be called `name` */
export function checkName(name: string): void {
  const problem = accountNameProblem(name);
  if (problem) throw new Error(`the name ${JSON.stringify(name)} ${problem}`);
}

/** The users, or undefined when there is no htpasswd yet. */
export async function readUsers({ htpasswd }: Files): Promise<Htpasswd | undefined> {
  const text = await readIfThere(htpasswd);
  return text === undefined ? undefined : parseHtpasswd(text);
}

/**
 * The policy, or undefined when there is no access.yml yet.
 * @throws Error that names file, line and reason
 */
export async function readPolicy({ access }: Files): Promise<Policy | undefined> {
  const text = await readIfThere(access);
  return text === undefined ? undefined : inFile(access, () => parsePolicy(text));
}

/** What `work` returns; what it finds wrong with the policy is given the file's name. */
export function inFile<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new Error(`${path}: ${error.message}`, { cause: error });
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  return withFile(path, () => readOrdinaryFile(path).then(String, missing));
}
