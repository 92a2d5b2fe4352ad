import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { link, open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder } from './make-folder.js';
import { missing, readOrdinaryFile } from './ordinary-file.js';
import { obstacles, reasonOf } from './reason-of.js';
import type { SettingSource } from './setting.js';
import { SettingsError } from './settings-error.js';
import { syncFolder } from './sync-folder.js';

/** Shortest secret accepted, in bytes: what HMAC-SHA256 can use. */
export const shortestSecret = 32;

/** What to do where it is not the folder's owner that is in the way, by the system's code. */
const remedies: Record<string, string> = {
  ...obstacles,
  EEXIST: 'a symbolic link leads to what does not exist: make that, or remove the link',
};

/**
 * The key that both services share, made on the first start. Both may come here at once: the file appears complete or not
 * at all, and whoever comes second reads what the first one made. `sources` tell which setting the path came from.
 * @throws SettingsError when the file cannot be read or made, or is too short
 */
export async function loadSecret(path: string, sources: readonly SettingSource[] = []): Promise<Buffer> {
  try {
    return checked(path, await readOrdinaryFile(path).catch(missing)) ?? (await make(path));
  } catch (error) {
    if (error instanceof SettingsError) throw error;
    const reason = reasonOf(error);
    const inData = sources.some(({ setting, source }) => setting === 'WHARFIE_SECRET_FILE' && source === 'default');
    const variable = inData ? 'WHARFIE_DATA' : 'WHARFIE_SECRET_FILE';
    const remedy = remedies[reason] ?? `give its folder to the user that runs this, or set ${variable} to another`;
    throw new SettingsError(variable, `${path} cannot be read or made (${reason}): ${remedy}`);
  }
}

/** A key for one purpose, so that what is signed for one can never pass for another. */
export function deriveKey(secret: Buffer, purpose: string): Buffer {
  return createHmac('sha256', secret).update(purpose).digest();
}

async function make(path: string): Promise<Buffer> {
  await makeFolder(dirname(path), 0o700);
  const temporary = `${path}.${randomUUID()}`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(`${randomBytes(shortestSecret).toString('base64url')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    // A link that leads to nothing is no secret of somebody who came first.
    await link(temporary, path).catch((error: unknown) => stat(path).catch(() => Promise.reject(error as Error)));
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(dirname(path));
  return checked(path, await readOrdinaryFile(path)) as Buffer;
}

function checked(path: string, content: Buffer | undefined): Buffer | undefined {
  if (!content) return undefined;
  const secret = Buffer.from(content.toString('latin1').trim(), 'latin1');
  if (secret.length < shortestSecret) {
    throw new SettingsError(
      'WHARFIE_SECRET_FILE',
      `${path} must hold at least ${shortestSecret} characters; remove it and a new one is made`,
    );
  }
  return secret;
}
