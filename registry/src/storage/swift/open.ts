import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { SettingsError, deriveKey, loadSecret } from '@wharfie/shared';
import type { RegistrySettings } from '../../settings.js';
import { StorageFull, StorageUnavailable } from '../storage-driver.js';
import { loginV1 } from './auth-v1.js';
import { loginV2 } from './auth-v2.js';
import { loginV3 } from './auth-v3.js';
import { SwiftClient, passing } from './client.js';
import { SwiftDriver } from './driver.js';
import { Names } from './names.js';
import { putSmall, remove } from './objects.js';
import { installKey } from './temp-url.js';
import { NoEndpoint, SwiftRefused, SwiftUnreachable, type Login } from './session.js';

/** What a cluster allows unless it says otherwise. */
const usual = { maxFileSize: 5 * 1024 ** 3, manifestEntries: 1000 };

/**
 * The driver for the container that the settings name, which is made when missing. Writes and removes an object, so that
 * missing rights show at once; rights on the container are enough when it exists. One that is full can be opened: what is
 * there can be pulled, and deleted.
 * @param limit milliseconds that all this may take
 * @throws SettingsError that names the variable, with what Swift said
 */
export async function openSwift(settings: RegistrySettings, limit = 30_000): Promise<SwiftDriver> {
  const container = required('OS_CONTAINER', settings.osContainer, 'the container for the images');
  const login = loginOf(settings);
  let storageUrl: string | undefined;
  const client = new SwiftClient({
    login: async (...how) => {
      storageUrl = undefined;
      const session = await login(...how);
      storageUrl = session.storageUrl;
      return session;
    },
    container,
    ca: await certificates(settings.osCacert),
    insecure: settings.osInsecure,
  });
  const signal = AbortSignal.timeout(limit);
  try {
    await openContainer(client, settings, signal);
    const info = (await client.info(signal)) as Info | undefined;
    if (info && !info.slo)
      throw new SettingsError(
        'OS_AUTH_URL',
        'this Swift has no static large objects; enable the filter slo of its proxy',
      );
    const key = settings.swiftRedirect ? await urlKey(settings) : undefined;
    if (key !== undefined) await installKey(client, key, info && (info.tempurl?.allowed_digests ?? []), signal);
    return new SwiftDriver(client, settings.storagePrefix, limits(info), key);
  } catch (error) {
    await client.close();
    if (error instanceof SettingsError) throw error;
    const late = new SwiftUnreachable('the start', new Error(`Swift took longer than ${limit / 1000} seconds`));
    throw asSettingsError(signal.aborted ? late : (error as Error), settings, storageUrl);
  }
}

async function openContainer(client: SwiftClient, settings: RegistrySettings, signal: AbortSignal): Promise<void> {
  const { status } = await client.send({ method: 'HEAD', accept: [200, 204, 404] }, signal);
  if (status === 404) await client.send({ method: 'PUT', accept: [201, 202] }, signal);
  const probe = new Names(settings.storagePrefix).object('wharfie/probe/start');
  try {
    await putSmall(client, probe, Buffer.from('probe'), signal);
  } catch (error) {
    if (!(error instanceof StorageFull)) throw error;
  }
  await remove(client, probe, signal);
}

/** What we read of what a cluster says of itself. */
interface Info {
  swift?: { max_file_size?: number };
  slo?: { max_manifest_segments?: number };
  tempurl?: { allowed_digests?: string[] };
}

/** The same for all instances that share a secret. */
async function urlKey({ secretFile }: RegistrySettings): Promise<string> {
  return deriveKey(await loadSecret(secretFile), 'TempURLs').toString('hex');
}

function limits(info: Info | undefined): typeof usual {
  return {
    maxFileSize: info?.swift?.max_file_size ?? usual.maxFileSize,
    manifestEntries: info?.slo?.max_manifest_segments ?? usual.manifestEntries,
  };
}

/** The login that the settings describe. @throws SettingsError for what it lacks */
function loginOf(settings: RegistrySettings): Login {
  const authUrl = required('OS_AUTH_URL', settings.osAuthUrl, 'the address to log in at');
  const place = { region: settings.osRegionName, interface: settings.osInterface };
  const version = versionOf(authUrl, settings);
  const user = { id: settings.osUserId, name: settings.osUsername };
  const userDomain = { id: settings.osUserDomainId, name: settings.osUserDomainName };
  const trust = settings.osTrustId;
  if (trust !== undefined && (version !== 3 || hasCredential(settings)))
    throw new SettingsError(
      'OS_TRUST_ID',
      'goes with a user and a password of version 3 alone; unset one or the other',
    );
  if (version === 3 && hasCredential(settings)) {
    const secret = required(
      'OS_APPLICATION_CREDENTIAL_SECRET',
      settings.osApplicationCredentialSecret,
      'the secret of the application credential',
    );
    const credential = settings.osApplicationCredentialId
      ? { id: settings.osApplicationCredentialId }
      : { name: settings.osApplicationCredentialName };
    if (!settings.osApplicationCredentialId && user.id === undefined)
      required('OS_USERNAME', user.name, 'the owner of an application credential that is given by name');
    return loginV3(authUrl, { credential, secret, user, userDomain }, place);
  }
  if (version !== 3 || user.id === undefined) required('OS_USERNAME', user.name, 'the user to log in as');
  const password = required('OS_PASSWORD', settings.osPassword, 'its password');
  const username = user.name ?? '';
  if (version === 1) {
    checkHeader('OS_USERNAME', username);
    checkHeader('OS_PASSWORD', password);
    return loginV1(authUrl, username, password);
  }
  const project = { id: settings.osProjectId, name: settings.osProjectName };
  if (version === 2) {
    return loginV2(authUrl, { username, password, tenantName: project.name, tenantId: project.id }, place);
  }
  if (project.id === undefined && trust === undefined)
    required('OS_PROJECT_NAME', project.name, 'the project that the container belongs to');
  const given = { id: settings.osProjectDomainId, name: settings.osProjectDomainName };
  const projectDomain = given.id === undefined && given.name === undefined ? userDomain : given;
  return loginV3(authUrl, { user, userDomain, password, project, projectDomain, trust }, place);
}

function versionOf(authUrl: string, settings: RegistrySettings): number {
  if (settings.osAuthVersion !== undefined) return settings.osAuthVersion;
  const path = new URL(authUrl).pathname;
  if (hasCredential(settings) || path.includes('/v3')) return 3;
  if (path.includes('/v2')) return 2;
  return path.includes('/v1') || path.includes('/auth') ? 1 : 3;
}

function hasCredential(settings: RegistrySettings): boolean {
  return settings.osApplicationCredentialId !== undefined || settings.osApplicationCredentialName !== undefined;
}

function required(variable: string, value: string | undefined, meaning: string): string {
  if (value !== undefined) return value;
  throw new SettingsError(variable, `is missing; set it to ${meaning}`);
}

/** Whether a header can hold it: https://www.rfc-editor.org/rfc/rfc9110#section-5.5 */
function checkHeader(variable: string, value: string): void {
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
    throw new SettingsError(
      variable,
      'holds a character that a login of version 1 cannot send, such as € or a line break; use letters of Latin-1',
    );
}

async function certificates(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    const pem = await readFile(file, 'utf8');
    if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it holds no certificate');
    createSecureContext({ ca: pem });
    return pem;
  } catch (error) {
    throw new SettingsError('OS_CACERT', `${file} cannot be used: ${(error as Error).message}; it must be a PEM file`);
  }
}

/**
 * Names the variable that is most likely wrong. Only the operator reads it, so it may say where Swift is.
 * @param storageUrl what the login gave; undefined when it was the login that failed
 */
function asSettingsError(error: Error, settings: RegistrySettings, storageUrl: string | undefined): SettingsError {
  const cause = error instanceof StorageUnavailable && error.cause instanceof Error ? error.cause : error;
  const { message } = cause;
  const credential = hasCredential(settings);
  const trust = settings.osTrustId !== undefined;
  if (cause instanceof NoEndpoint) {
    const unscoped = settings.osProjectName === undefined && settings.osProjectId === undefined;
    if (cause.missing === 'service' && unscoped && !credential && !trust)
      return new SettingsError('OS_PROJECT_NAME', `${message}; set it to the project that the container belongs to`);
    const variables = { service: 'OS_AUTH_URL', region: 'OS_REGION_NAME', interface: 'OS_INTERFACE' };
    return new SettingsError(variables[cause.missing], message);
  }
  const { osAuthUrl = '' } = settings;
  const address = storageUrl ?? osAuthUrl;
  const status = cause instanceof SwiftRefused ? cause.status : 0;
  const passes = status >= 500 || passing.has(status);
  const flaw = cause instanceof SwiftUnreachable ? cause.flaw : undefined;
  const swift = storageUrl !== undefined && (status > 0 || cause instanceof SwiftUnreachable);
  const version = versionOf(osAuthUrl, settings);
  const listed = swift && version !== 1;
  // Keystone says so of an id or a name that it does not know.
  const lost = status === 404 && credential;
  const credentialName = settings.osApplicationCredentialId
    ? 'OS_APPLICATION_CREDENTIAL_ID'
    : 'OS_APPLICATION_CREDENTIAL_NAME';
  const remedies: [when: boolean, variable: string, remedy: string][] = [
    [passes, 'OS_AUTH_URL', `this may pass: start again later, or see what ails ${address}`],
    [flaw === 'untrusted', 'OS_CACERT', 'set it to the certificate (PEM) of the authority that signed it'],
    [swift && status === 403, 'OS_CONTAINER', "check the user's rights on the container"],
    [swift && status === 404, 'OS_CONTAINER', 'this account does not exist, or may not make containers'],
    [listed, 'OS_INTERFACE', `the catalogue gives ${address}; this or OS_REGION_NAME chooses another address`],
    [swift, 'OS_AUTH_URL', `the login gives ${address}; if Swift is elsewhere, only its operator can mend that`],
    [status === 401 && credential, 'OS_APPLICATION_CREDENTIAL_SECRET', 'check the credential and its secret'],
    [lost, credentialName, 'check it, and whose it is'],
    [status === 401 && trust, 'OS_PASSWORD', 'check it, OS_USERNAME with its domain, and OS_TRUST_ID'],
    [status === 401 && version === 1, 'OS_PASSWORD', 'check it, and OS_USERNAME, which is account:user'],
    [status === 401, 'OS_PASSWORD', 'check it, OS_USERNAME, OS_PROJECT_NAME, and the domains of both'],
    [status === 403 && trust, 'OS_TRUST_ID', 'check it, and whom it was given to'],
    [flaw === 'another name', 'OS_AUTH_URL', 'use a name or address that the certificate is for'],
    [flaw === 'none', 'OS_AUTH_URL', 'begin it with http://, or use the port of https'],
    [status > 0, 'OS_AUTH_URL', 'check the address, and OS_AUTH_VERSION'],
  ];
  const otherwise = [true, 'OS_AUTH_URL', 'check the address, and the cluster'] as const;
  const [, variable, remedy] = remedies.find(([when]) => when) ?? otherwise;
  return new SettingsError(variable, `${message}; ${remedy}`);
}
