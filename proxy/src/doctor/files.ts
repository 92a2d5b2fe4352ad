import { readOrdinaryFile, reasonOf, shortestSecret } from '@wharfie/shared';
import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parsePolicy, unknownNames } from '../access/policy.js';
import { checkFirstAccount, dataFiles, firstAccount } from '../first-start.js';
import { parseHtpasswd, shown } from '../htpasswd/file.js';
import type { ProxySettings } from '../settings.js';
import { counted, firstStart, type Finding } from './finding.js';
import { examinePermissions } from './permissions.js';

/** Looks at the data folder and the files in it, without making any. */
export async function* examineFiles(settings: ProxySettings): AsyncGenerator<Finding> {
  const { data, secretFile, auditLog } = settings;
  const files = dataFiles(data);
  const nearest = await nearestTo(data);
  if (!(await isUsable(nearest))) {
    const text = `${nearest} is no folder that this user may write`;
    const give = `chown -R USER ${data}, USER being who runs the services`;
    const remedy = `${nearest === data ? give : `make ${data} and ${give}`}, or set WHARFIE_DATA to another folder`;
    yield { state: 'bad', about: 'data', text, remedy };
    return;
  }
  yield* examineFirstAccount(files.htpasswd, settings);
  if (auditLog !== undefined) yield* examineAuditLog(auditLog);
  if (nearest !== data) {
    yield { state: 'warn', about: 'data', text: `${data} does not exist`, remedy: firstStart };
    return;
  }
  if (((await stat(data)).mode & 0o022) === 0) yield { state: 'ok', about: 'data', text: `${data} can be written` };
  else {
    const text = `others may write ${data}, and so replace the accounts`;
    yield { state: 'warn', about: 'data', text, remedy: `chmod go-w ${data}` };
  }
  const accounts = yield* examineFile('htpasswd', files.htpasswd, (text) => {
    const { users, warnings } = parseHtpasswd(text);
    return { value: users, text: counted(users.size, 'account'), warnings };
  });
  yield* examineFile('access.yml', files.access, (text) => {
    const policy = parsePolicy(text);
    const unknown = accounts ? unknownNames(policy, accounts) : [];
    const strangers = unknown.map(({ line, text: name }) => `line ${line}: no account is called ${shown(name)}`);
    return { value: policy, text: counted(policy.rules.length, 'rule'), warnings: [...policy.warnings, ...strangers] };
  });
  // Its bytes count, as in loadSecret.
  yield* examineFile(
    'secret',
    secretFile,
    (text) => {
      if (text.trim().length < shortestSecret)
        throw new Error(`it is shorter than ${shortestSecret} characters: remove it, and a new one is made`);
      return { value: undefined, text: 'it is long enough', warnings: [] };
    },
    'latin1',
  );
}

/** Looks at the settings of the first account, where it is still to be made. */
async function* examineFirstAccount(htpasswd: string, settings: ProxySettings): AsyncGenerator<Finding> {
  try {
    await checkFirstAccount(htpasswd, firstAccount(settings));
  } catch (error) {
    yield { state: 'bad', about: 'first account', text: (error as Error).message };
  }
}

async function* examineAuditLog(path: string): AsyncGenerator<Finding> {
  const about = 'audit log';
  try {
    const file = await stat(path).catch(() => undefined);
    await access(file ? path : dirname(path), constants.W_OK);
    yield { state: 'ok', about, text: `${path} can be written` };
  } catch (error) {
    const text = `${path} cannot be written (${reasonOf(error)})`;
    yield { state: 'bad', about, text, remedy: 'name a file in a folder that is there and that the proxy may write' };
  }
}

/** The path itself where it exists, else the nearest above it that does. */
async function nearestTo(path: string): Promise<string> {
  const exists = await stat(path).catch(() => undefined);
  return exists || dirname(path) === path ? path : nearestTo(dirname(path));
}

async function isUsable(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return (await stat(folder)).isDirectory();
  } catch {
    return false;
  }
}

/** Reads one file; what it holds is returned when it is right. */
async function* examineFile<T>(
  about: string,
  path: string,
  read: (text: string) => { value: T; text: string; warnings: readonly string[] },
  encoding: 'utf8' | 'latin1' = 'utf8',
): AsyncGenerator<Finding, T | undefined> {
  let text;
  try {
    text = (await readOrdinaryFile(path)).toString(encoding);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      yield { state: 'warn', about, text: `${path} does not exist`, remedy: firstStart };
    else {
      const remedy = 'give it to the user that runs the services';
      yield { state: 'bad', about, text: `${path} cannot be read (${reasonOf(error)})`, remedy };
    }
    return undefined;
  }
  yield* examinePermissions(about, path);
  try {
    const found = read(text);
    for (const warning of found.warnings) yield { state: 'warn', about, text: `${path}: ${warning}` };
    yield { state: 'ok', about, text: found.text };
    return found.value;
  } catch (error) {
    yield { state: 'bad', about, text: `${path}: ${(error as Error).message}` };
    return undefined;
  }
}
