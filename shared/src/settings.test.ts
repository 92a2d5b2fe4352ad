import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSettings } from './read-settings.js';
import { settingsTable } from './settings.js';
import { SettingsError } from './settings-error.js';

const read = (environment: Record<string, string>) => readSettings(settingsTable(environment), environment);

function refusal(environment: Record<string, string>): SettingsError {
  try {
    read(environment);
  } catch (error) {
    if (error instanceof SettingsError) return error;
    throw error;
  }
  throw new Error('the settings were accepted');
}

describe('settings', () => {
  it('have the defaults that the table of the manual names', () => {
    const { settings } = read({});
    expect(settings).toMatchObject({
      data: resolve('data'),
      listen: { host: '127.0.0.1', port: 5000 },
      registryListen: { host: '127.0.0.1', port: 5001 },
      adminListen: { host: '127.0.0.1', port: 5002 },
      registryAdminListen: { host: '127.0.0.1', port: 5003 },
      adminUser: 'admin',
      adminPassword: undefined,
      secretFile: resolve('data/secret'),
      storage: 'filesystem',
      storageRoot: resolve('data/registry'),
      logLevel: 'info',
      publicUrl: undefined,
    });
    expect(settings.workers).toBeGreaterThanOrEqual(1);
    expect(settings.workers).toBeLessThanOrEqual(4);
  });

  it('that follow from the data folder lie in it', () => {
    const { settings } = read({ WHARFIE_DATA: '/srv/wharfie' });
    expect(settings).toMatchObject({ secretFile: '/srv/wharfie/secret', storageRoot: '/srv/wharfie/registry' });
  });

  it('that are empty count as unset', () => {
    const names = Object.values(settingsTable({})).flatMap(({ variables }) => variables);
    expect(read(Object.fromEntries(names.map((name) => [name, ''])))).toEqual(read({}));
  });

  it('that are secret may come in a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wharfie-settings-'));
    const file = join(folder, 'password');
    await writeFile(file, '\uFEFFtwo words\n');
    const { settings, sources } = read({ WHARFIE_ADMIN_PASSWORD_FILE: file, WHARFIE_ADMIN_PASSWORD: '' });
    expect(settings.adminPassword).toBe('two words');
    expect(sources).toContainEqual({
      setting: 'WHARFIE_ADMIN_PASSWORD',
      value: '***',
      source: 'WHARFIE_ADMIN_PASSWORD_FILE',
    });
    expect(read({ REGISTRY_STORAGE_SWIFT_PASSWORD_FILE: file }).settings.osPassword).toBe('two words');
    expect(read({ OS_PASSWORD: 'mine', OS_PASSWORD_FILE: file }).settings.osPassword).toBe('mine');
    await writeFile(file, '\n');
    expect(refusal({ OS_PASSWORD_FILE: file }).message).toMatch(/^OS_PASSWORD_FILE: .*password is empty/);
    await rm(folder, { recursive: true });

    const gone = refusal({ OS_PASSWORD_FILE: file });
    expect(gone.message).toMatch(/^OS_PASSWORD_FILE: .*password cannot be read \(ENOENT\)/);
    expect(refusal({ OS_PASSWORD_FILE: folder.replace(/[^/]*$/, '') }).variable).toBe('OS_PASSWORD_FILE');
  });

  it('that are not secret come in no file', () => {
    expect(read({ OS_USERNAME_FILE: '/etc/hostname' })).toEqual(read({}));
  });

  it.each([
    ['5000', { host: '0.0.0.0', port: 5000 }],
    ['127.0.0.1:443', { host: '127.0.0.1', port: 443 }],
  ])('take the address of compose files: %s', (text, expected) => {
    expect(read({ WHARFIE_PUBLISH: text }).settings.publish).toEqual(expected);
  });

  it('may be long where no timer runs so long', () => {
    expect(read({ WHARFIE_UPLOAD_LIFETIME: '365d', WHARFIE_IDLE_TIMEOUT: '24d' }).settings).toMatchObject({
      uploadLifetime: 365 * 86_400_000,
      idleTimeout: 24 * 86_400_000,
    });
  });

  it('come from an alias when the variable of our own is not set', () => {
    expect(read({ SETTINGS_FLAVOR: 'swift', GUNICORN_WORKERS: '8' }).settings).toMatchObject({
      storage: 'swift',
      workers: 8,
    });
    const both = { WHARFIE_STORAGE: 'memory', SETTINGS_FLAVOR: 'swift' };
    expect(read(both).settings.storage).toBe('memory');
    expect(read({ ...both, WHARFIE_STORAGE: '' }).settings.storage).toBe('swift');
    expect(read({ REGISTRY_STORAGE: 'swift' }).settings.storage).toBe('swift');
    expect(read({ REGISTRY_STORAGE: 'filesystem' }).settings.storage).toBe('filesystem');
  });

  it('give a project and a domain whole as OpenStack has them, beside what distribution left of them', () => {
    const left = {
      REGISTRY_STORAGE_SWIFT_TENANTID: 'old',
      REGISTRY_STORAGE_SWIFT_TRUSTID: 'old',
      REGISTRY_STORAGE_SWIFT_DOMAINID: 'old',
      REGISTRY_STORAGE_SWIFT_TENANTDOMAINID: 'old',
    };
    const of = (environment: Record<string, string>) => {
      const { settings: s } = read({ ...left, ...environment });
      return [s.osProjectId, s.osTrustId, s.osUserDomainId, s.osProjectDomainId];
    };
    expect(of({ OS_USERNAME: 'me' })).toEqual(['old', 'old', 'old', 'old']);
    expect(of({ OS_TENANT_NAME: 'new' })).toEqual([undefined, undefined, 'old', 'old']);
    expect(of({ OS_PROJECT_DOMAIN_NAME: 'new' })).toEqual(['old', 'old', 'old', undefined]);
    expect(of({ OS_USER_DOMAIN_NAME: 'new' })).toEqual(['old', 'old', undefined, undefined]);
  });

  it("have distribution's version 0 of the login guessed", () => {
    expect(read({ REGISTRY_STORAGE_SWIFT_AUTHVERSION: '0' }).settings.osAuthVersion).toBeUndefined();
  });

  it.each([
    ['WHARFIE_LISTEN', 'nonsense'],
    ['WHARFIE_PUBLISH', 'nonsense'],
    ['WHARFIE_PUBLISH', 'unix:/run/door'],
    ['WHARFIE_PUBLISH', '%:5050'],
    ['WHARFIE_LISTEN', '127.0.0.1:65536'],
    ['WHARFIE_ADMIN_LISTEN', '5002'],
    ['WHARFIE_REGISTRY_LISTEN', 'unix:'],
    ['WHARFIE_STORAGE', 's3'],
    ['SETTINGS_FLAVOR', 'local'],
    ['REGISTRY_STORAGE', 's3'],
    ['OS_AUTH_VERSION', '4'],
    ['WHARFIE_WORKERS', '0'],
    ['WHARFIE_WORKERS', '1.5'],
    ['GUNICORN_WORKERS', 'many'],
    ['WHARFIE_DRAIN', '-1'],
    ['WHARFIE_IDLE_TIMEOUT', '5'],
    // Past 2^31 - 1 ms Node's timers do not wait at all, or not so long.
    ['WHARFIE_IDLE_TIMEOUT', '25d'],
    ['WHARFIE_IDLE_TIMEOUT', '577h'],
    ['WHARFIE_HEADERS_TIMEOUT', '597h'],
    ['WHARFIE_LOG_LEVEL', 'loud'],
    ['WHARFIE_LOG_FORMAT', 'xml'],
    ['WHARFIE_PUBLIC_URL', 'ftp://example.org'],
    ['WHARFIE_PUBLIC_URL', 'https://user:password@example.org'],
    ['OS_AUTH_URL', 'https://user:password@example.org/v3'],
    ['WHARFIE_ADMIN_USER', 'a:b'],
    ['WHARFIE_STORAGE_PREFIX', '..'],
    ['WHARFIE_STORAGE_PREFIX', 'ü'.repeat(201)],
    ['WHARFIE_STORAGE_PREFIX', 'a/./b'],
    ['OS_CONTAINER', '..'],
  ])('name the variable that is wrong, and what would be right: %s=%s', (variable, value) => {
    const error = refusal({ [variable]: value });
    expect(error.variable).toBe(variable);
    expect(error.message).toMatch(new RegExp(`^${variable}: must be `));
    expect(error.message).not.toContain('\n');
  });

  it.each([
    'https://hub.example/v2',
    'https://hub.example:5000/v2/',
    'https://hub.example/v2/team',
    'https://hub.example/./v2',
  ])('have a public address that ends before /v2/: not %s', (address) => {
    expect(refusal({ WHARFIE_PUBLIC_URL: address }).message).toContain('must end before /v2/');
  });

  it('give the public address as a header can hold it', () => {
    const { settings } = read({ WHARFIE_PUBLIC_URL: 'https://реестр.example/a"b' });
    expect(settings.publicUrl).toBe('https://xn--e1aa5aceg.example/a%22b');
  });

  it('say what was taken from where, and hide what is secret', () => {
    const { sources } = read({ WHARFIE_ADMIN_PASSWORD: 'hunter2', SETTINGS_FLAVOR: 'memory' });
    expect(sources).toContainEqual({
      setting: 'WHARFIE_ADMIN_PASSWORD',
      value: '***',
      source: 'WHARFIE_ADMIN_PASSWORD',
    });
    expect(sources).toContainEqual({ setting: 'WHARFIE_STORAGE', value: 'memory', source: 'SETTINGS_FLAVOR' });
    expect(sources).toContainEqual({ setting: 'WHARFIE_LISTEN', value: '127.0.0.1:5000', source: 'default' });
    expect(JSON.stringify(sources)).not.toContain('hunter2');
  });
});
