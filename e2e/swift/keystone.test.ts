import { afterAll, beforeAll, expect, it } from 'vitest';
import { registrySettings } from '../../registry/src/settings.js';
import { openSwift } from '../../registry/src/storage/swift/open.js';
import { freePort } from '../harness/free-port.mjs';
import { pullImage, pushImage, type Call } from '../harness/images.js';
import { describeWith } from '../harness/requirements.js';
import { Wharfie } from '../harness/wharfie.js';
import { Keystone } from './keystone.js';
import { Swift } from './swift.js';

const signal = new AbortController().signal;
const container = 'images';

describeWith(['swift', 'keystone'], 'a Swift behind Keystone, both with a certificate of their own', () => {
  let keystone: Keystone;
  let swift: Swift;
  const ids: Record<'domain' | 'project' | 'user' | 'credential' | 'guest' | 'trust', string> = {
    domain: '',
    project: '',
    user: '',
    credential: '',
    guest: '',
    trust: '',
  };
  let secret: string;
  beforeAll(async () => {
    keystone = await Keystone.start();
    swift = await Swift.start({
      SWIFT_KEYSTONE: keystone.url,
      SWIFT_CERTIFICATE: keystone.certificate,
      SWIFT_KEY: keystone.key,
    });
    const here = `https://127.0.0.1:${swift.port}`;
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    await keystone.offer({
      RegionOne: { public: here, internal: here },
      RegionTwo: { public: nowhere, internal: here },
    });
    // The user's domain and the project's are two, and neither is the one that is meant when none is named.
    const domain = await keystone.make('domains', 'domain', { name: 'Guests and more' });
    const users = await keystone.make('domains', 'domain', { name: 'users' });
    const project = await keystone.make('projects', 'project', { name: 'pictures', domain_id: domain.id });
    const person = { password: 'right', domain_id: users.id };
    const user = await keystone.make('users', 'user', { name: 'registry', ...person });
    const guest = await keystone.make('users', 'user', { name: 'guest', ...person });
    const stranger = await keystone.make('users', 'user', { name: 'stranger', ...person });
    await keystone.grant(project, user, 'member');
    await keystone.grant(project, guest, 'reader');
    const token = await keystone.login({ id: user.id, password: 'right' }, { id: project.id });
    const made = await keystone.make(
      `users/${user.id}/application_credentials`,
      'application_credential',
      { name: 'wharfie' },
      token,
    );
    secret = made.secret ?? '';
    const given = { project_id: project.id, roles: [{ name: 'member' }], impersonation: false };
    const between = { trustor_user_id: user.id, trustee_user_id: stranger.id };
    const trust = await keystone.make('OS-TRUST/trusts', 'trust', { ...given, ...between }, token);
    Object.assign(ids, { domain: domain.id, project: project.id, user: user.id });
    Object.assign(ids, { credential: made.id, guest: guest.id, trust: trust.id });
  });
  afterAll(async () => {
    await swift.dispose();
    await keystone.dispose();
  });

  const byName = () => ({
    OS_AUTH_URL: keystone.url,
    OS_USERNAME: 'registry',
    OS_PASSWORD: 'right',
    OS_USER_DOMAIN_NAME: 'users',
    OS_PROJECT_NAME: 'pictures',
    OS_PROJECT_DOMAIN_NAME: 'Guests and more',
  });
  const base = () => ({ WHARFIE_STORAGE: 'swift', OS_CONTAINER: container, OS_CACERT: keystone.certificate });
  const open = (env: Record<string, string>) => openSwift(registrySettings({ ...base(), ...env }));
  const works = async (env: Record<string, string>): Promise<void> => {
    const driver = await open(env);
    try {
      await driver.put('keystone/works', Buffer.from('yes'), signal);
      expect((await driver.get('keystone/works', signal)).toString()).toBe('yes');
    } finally {
      await driver.close();
    }
  };

  it('opens with names and the names of their domains', () => works(byName()));

  it('opens with ids, which need no domains', () =>
    works({
      OS_AUTH_URL: keystone.url,
      OS_USER_ID: ids.user,
      OS_PASSWORD: 'right',
      OS_PROJECT_ID: ids.project,
    }));

  it('opens with names and the ids of their domains, and a version that is said', async () => {
    const userDomain = await keystone.find('domains', 'users');
    await works({
      OS_AUTH_URL: keystone.url.replace('/v3', '/'),
      OS_IDENTITY_API_VERSION: '3',
      OS_USERNAME: 'registry',
      OS_PASSWORD: 'right',
      OS_USER_DOMAIN_ID: userDomain,
      OS_PROJECT_NAME: 'pictures',
      OS_PROJECT_DOMAIN_ID: ids.domain,
    });
  });

  it("opens with distribution's names of the settings", () =>
    works({
      OS_CONTAINER: '',
      REGISTRY_STORAGE_SWIFT_AUTHURL: keystone.url,
      REGISTRY_STORAGE_SWIFT_USERNAME: 'registry',
      REGISTRY_STORAGE_SWIFT_PASSWORD: 'right',
      REGISTRY_STORAGE_SWIFT_DOMAIN: 'users',
      REGISTRY_STORAGE_SWIFT_TENANT: 'pictures',
      REGISTRY_STORAGE_SWIFT_TENANTDOMAIN: 'Guests and more',
      REGISTRY_STORAGE_SWIFT_REGION: 'RegionOne',
      REGISTRY_STORAGE_SWIFT_CONTAINER: container,
      REGISTRY_STORAGE_SWIFT_ENDPOINTTYPE: 'internal',
    }));

  it('opens with an application credential, by id and by name', async () => {
    const credential = { OS_AUTH_URL: keystone.url, OS_APPLICATION_CREDENTIAL_SECRET: secret };
    await works({ ...credential, OS_APPLICATION_CREDENTIAL_ID: ids.credential });
    await works({
      ...credential,
      OS_APPLICATION_CREDENTIAL_NAME: 'wharfie',
      OS_USERNAME: 'registry',
      OS_USER_DOMAIN_NAME: 'users',
    });
  });

  it('opens with a trust that gives the right in place of a project', () =>
    works({ ...byName(), OS_USERNAME: 'stranger', OS_PROJECT_NAME: '', OS_TRUST_ID: ids.trust }));

  it('takes the region and the interface that it is told', async () => {
    await works({ ...byName(), OS_REGION_NAME: 'RegionOne' });
    await works({ ...byName(), OS_REGION_NAME: 'RegionTwo', OS_INTERFACE: 'internal' });
  });

  it('opens without a look at certificates when told so', () =>
    works({ ...byName(), OS_CACERT: '', OS_INSECURE: 'true' }));

  it('needs no rights but those on the container', async () => {
    const token = await keystone.login({ id: ids.user, password: 'right' }, { id: ids.project });
    const rights = `${ids.project}:${ids.guest}`;
    const made = await keystone.fetch(`https://127.0.0.1:${swift.port}/v1/AUTH_${ids.project}/given`, {
      method: 'PUT',
      headers: { 'x-auth-token': token, 'x-container-read': rights, 'x-container-write': rights },
    });
    expect(made.status).toBe(201);
    await works({ ...byName(), OS_USERNAME: 'guest', OS_CONTAINER: 'given' });
  });

  it.each<[string, string, () => Record<string, string>, RegExp]>([
    ['a wrong password', 'OS_PASSWORD', () => ({ OS_PASSWORD: 'wrong' }), /401.*requires authentication/],
    ['an unknown project', 'OS_PASSWORD', () => ({ OS_PROJECT_NAME: 'none' }), /401.*OS_PROJECT_NAME/],
    ['a user without the project', 'OS_PASSWORD', () => ({ OS_USERNAME: 'stranger' }), /401/],
    ['no user domain', 'OS_PASSWORD', () => ({ OS_USER_DOMAIN_NAME: '' }), /401/],
    ['an unknown region', 'OS_REGION_NAME', () => ({ OS_REGION_NAME: 'RegionX' }), /RegionX.*RegionOne, RegionTwo/],
    ['an interface that is not offered', 'OS_INTERFACE', () => ({ OS_INTERFACE: 'admin' }), /admin.*public/],
    ['no rights', 'OS_CONTAINER', () => ({ OS_USERNAME: 'guest' }), /403.*rights/],
    ['no project', 'OS_PROJECT_NAME', () => ({ OS_PROJECT_NAME: '' }), /missing/],
    ['no authority', 'OS_CACERT', () => ({ OS_CACERT: '' }), /certificate/],
    [
      'a name that its certificate is not for',
      'OS_AUTH_URL',
      () => ({ OS_AUTH_URL: keystone.url.replace('127.0.0.1', 'localhost') }),
      /not match certificate.*use a name/,
    ],
    ['no file of authorities', 'OS_CACERT', () => ({ OS_CACERT: '/nowhere.pem' }), /ENOENT/],
    ['a file without a certificate', 'OS_CACERT', () => ({ OS_CACERT: keystone.key }), /certificate/],
    ['a trust that is not there', 'OS_PASSWORD', () => ({ OS_TRUST_ID: 'none' }), /401.*OS_TRUST_ID/],
    ["another's trust", 'OS_TRUST_ID', () => ({ OS_TRUST_ID: ids.trust }), /403.*given to/],
    [
      'a trust for version 2',
      'OS_TRUST_ID',
      () => ({ OS_AUTH_VERSION: '2', OS_TRUST_ID: ids.trust }),
      /version 3 alone/,
    ],
    ['a version that Keystone has no more', 'OS_AUTH_URL', () => ({ OS_AUTH_VERSION: '2' }), /404/],
    [
      'a wrong secret of an application credential',
      'OS_APPLICATION_CREDENTIAL_SECRET',
      () => ({ OS_APPLICATION_CREDENTIAL_ID: ids.credential, OS_APPLICATION_CREDENTIAL_SECRET: 'wrong' }),
      /401/,
    ],
    [
      'no secret of an application credential',
      'OS_APPLICATION_CREDENTIAL_SECRET',
      () => ({ OS_APPLICATION_CREDENTIAL_ID: ids.credential }),
      /missing/,
    ],
  ])('with %s it does not open, and names %s', async (_, variable, wrong, said) => {
    const opening = open({ ...byName(), OS_CONTAINER: 'not-there-yet', ...wrong() });
    await expect(opening).rejects.toMatchObject({ variable, message: expect.stringMatching(said) as string });
  });

  it('takes a push with the RC file of a project, and gives it back', async () => {
    const wharfie = await Wharfie.start({ env: { ...base(), ...byName() } });
    const call: Call = (method, path, init) => wharfie.fetch(path, { method, ...init });
    try {
      const image = await pushImage(call, 'team/app', 'v1');
      expect(await pullImage(call, 'team/app', 'v1')).toBe(image);
    } finally {
      await wharfie.dispose();
    }
  });
});
