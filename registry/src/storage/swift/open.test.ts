import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { describeWith } from '../../../../e2e/harness/requirements.js';
import { registrySettings } from '../../settings.js';
import { openSwift } from './open.js';
import { serve, type Reply, type Seen } from '../testing/serve.js';

const account = { OS_CONTAINER: 'docker', OS_USERNAME: 'me', OS_PASSWORD: 'secret', WHARFIE_STORAGE: 'swift' };

async function opening(
  environment: Record<string, string>,
  answer: (seen: Seen, address: string) => Reply | Promise<Reply>,
  limit?: number,
) {
  const { address, close } = await serve(answer);
  onTestFinished(close);
  const url = (environment['OS_AUTH_URL'] ?? '').replace('ADDRESS', address);
  return openSwift(registrySettings({ ...account, ...environment, OS_AUTH_URL: url }), limit);
}

it('names the address when https is asked of a port that speaks http, at once and in one line', async () => {
  const { address, close } = await serve(() => ({ status: 200 }));
  onTestFinished(close);
  const url = `${address.replace('http:', 'https:')}/v3`;
  const opened = openSwift(registrySettings({ ...account, OS_AUTH_URL: url, OS_PROJECT_NAME: 'project' }));
  await expect(opened).rejects.toThrow(/^OS_AUTH_URL: the login at .* does not speak TLS; begin it with http:.*$/);
});

it('names the project when version 2 gives no catalogue for want of one', async () => {
  const body = JSON.stringify({ access: { token: { id: 'tk', expires: '2030-01-02T03:04:05Z' }, serviceCatalog: [] } });
  const opened = opening({ OS_AUTH_URL: 'ADDRESS/v2.0' }, () => ({ status: 200, body }));
  await expect(opened).rejects.toThrow(/^OS_PROJECT_NAME: .*set it to the project/);
});

it('names the application credential that is not known', async () => {
  const body = JSON.stringify({ error: { message: 'Could not find Application Credential: x.', code: 404 } });
  const answer = () => ({ status: 404, body });
  const given = { OS_AUTH_URL: 'ADDRESS/v3', OS_APPLICATION_CREDENTIAL_SECRET: 'secret' };
  await expect(opening({ ...given, OS_APPLICATION_CREDENTIAL_ID: 'x' }, answer)).rejects.toThrow(
    /^OS_APPLICATION_CREDENTIAL_ID: .*Could not find/,
  );
  await expect(opening({ ...given, OS_APPLICATION_CREDENTIAL_NAME: 'x' }, answer)).rejects.toThrow(
    /^OS_APPLICATION_CREDENTIAL_NAME: .*Could not find/,
  );
});

it('does not say of a Swift that says nothing of itself that it takes no TempURLs', async () => {
  const opened = opening(
    { OS_AUTH_URL: 'ADDRESS/auth/v1.0', WHARFIE_SWIFT_REDIRECT: 'true' },
    ({ url, method }, at) => {
      if (url === '/auth/v1.0')
        return { status: 200, headers: { 'x-auth-token': 'tk', 'x-storage-url': `${at}/v1/a` } };
      return { status: url === '/info' ? 404 : method === 'PUT' ? 201 : 204 };
    },
  );
  await expect(opened).rejects.toThrow(/^WHARFIE_SWIFT_REDIRECT: this Swift does not say/);
});

it('does not begin on a Swift that would take the list of a large blob for the blob', async () => {
  const opened = opening({ OS_AUTH_URL: 'ADDRESS/auth/v1.0' }, ({ url, method }, at) => {
    if (url === '/auth/v1.0') return { status: 200, headers: { 'x-auth-token': 'tk', 'x-storage-url': `${at}/v1/a` } };
    return url === '/info' ? { status: 200, body: '{"swift":{}}' } : { status: method === 'PUT' ? 201 : 204 };
  });
  await expect(opened).rejects.toThrow(/^OS_AUTH_URL: this Swift has no static large objects; enable/);
});

it.each([
  ['OS_PASSWORD', { OS_PASSWORD: 'pässwörd€' }],
  ['OS_PASSWORD', { OS_PASSWORD: 'two\nlines' }],
  ['OS_USERNAME', { OS_USERNAME: 'account:€' }],
])('names %s when version 1 cannot send it: no header can hold %o', async (variable, environment) => {
  const opened = opening({ OS_AUTH_URL: 'ADDRESS/auth/v1.0', ...environment }, () => ({ status: 500 }));
  await expect(opened).rejects.toThrow(new RegExp(`^${variable}: `));
});

const v1 = { OS_AUTH_URL: 'ADDRESS/auth/v1.0' };
const v3 = { OS_AUTH_URL: 'ADDRESS/v3', OS_PROJECT_NAME: 'project' };
/** Nobody asks again who is told to wait for so long. */
const later = { 'retry-after': '60' };

/** Logs in whoever asks, and gives this address as that of Swift. */
function loggedIn(storageUrl: string): Reply {
  const catalog = [{ type: 'object-store', endpoints: [{ interface: 'public', url: storageUrl }] }];
  return {
    status: 200,
    headers: { 'x-auth-token': 'tk', 'x-subject-token': 'tk', 'x-storage-url': storageUrl },
    body: JSON.stringify({ token: { catalog } }),
  };
}

it.each([
  ['the catalogue', 'OS_INTERFACE', 'OS_REGION_NAME', v3],
  ['the login', 'OS_AUTH_URL', 'operator', v1],
])('shows the address that %s gives, and names %s, when Swift is not there', async (who, variable, remedy, how) => {
  const asTls = opening(how, (_, at) => loggedIn(`${at.replace('http:', 'https:')}/v1/a`));
  const said = (what: string) => new RegExp(`^${variable}: HEAD docker ${what}; ${who} gives https?://127.*${remedy}`);
  await expect(asTls).rejects.toThrow(said('got no answer: .* does not speak TLS'));
  for (const status of [301, 400, 401]) {
    const answering = opening(how, ({ method }, at) => (method === 'HEAD' ? { status } : loggedIn(`${at}/v1/a`)));
    await expect(answering).rejects.toThrow(said(`was answered ${status}`));
  }
});

describeWith(['openssl'], 'a Swift behind TLS', () => {
  it.each([
    ['a name that its certificate lacks', 'https', /^OS_INTERFACE: .* does not match .*; the catalogue gives https:/],
    ['http://', 'http', /^OS_INTERFACE: HEAD docker got no answer: .*; the catalogue gives http:/],
  ])('is shown as the catalogue gives it, when that is by %s', async (_, scheme, said) => {
    const folder = mkdtempSync(join(tmpdir(), 'wharfie-open-'));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=elsewhere'];
    execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const swift = createServer({ key: readFileSync(key), cert: readFileSync(cert) }).listen(0, '127.0.0.1');
    onTestFinished(() => {
      swift.close();
    });
    await once(swift, 'listening');
    const url = `${scheme}://127.0.0.1:${(swift.address() as AddressInfo).port}/v1/a`;
    await expect(opening({ ...v3, OS_CACERT: cert }, () => loggedIn(url))).rejects.toThrow(said);
  });
});

it('names address and version when version 1 is asked of an address that speaks another', async () => {
  const opened = opening({ ...v3, OS_AUTH_VERSION: '1' }, () => ({ status: 200 }));
  await expect(opened).rejects.toThrow(/^OS_AUTH_URL: the login at .*\/v3 was answered 200: .*OS_AUTH_VERSION$/);
});

it.each([429, 503])('says of a %i that it may pass, by whomever it is given', async (status) => {
  const said = (what: string) => new RegExp(`^OS_AUTH_URL: ${what} was answered ${status}; this may pass: .*http:`);
  const refused = opening(v3, () => ({ status, headers: later }));
  await expect(refused).rejects.toThrow(said('the login at .*'));
  const away = opening(v3, ({ method }, at) =>
    method === 'HEAD' ? { status, headers: later } : loggedIn(`${at}/v1/a`),
  );
  await expect(away).rejects.toThrow(said('HEAD docker'));
});

it.each([
  ['OS_INTERFACE', v3],
  ['OS_AUTH_URL', v1],
])('names %s, and the address that the login gives, when Swift does not answer in time', async (variable, how) => {
  const hanging = opening(
    how,
    ({ method }, at) => (method === 'HEAD' ? new Promise(() => undefined) : loggedIn(`${at}/v1/a`)),
    300,
  );
  const said = `^${variable}: the start got no answer: Swift took longer than 0.3 seconds; the .* gives http://127.*/v1/a`;
  await expect(hanging).rejects.toThrow(new RegExp(said));
});

it('asks whoever is refused by version 1 for nothing that it does not know', async () => {
  const said = /^OS_PASSWORD: .* was answered 401; check it, and OS_USERNAME, which is account:user$/;
  await expect(opening(v1, () => ({ status: 401 }))).rejects.toThrow(said);
  await expect(opening(v3, () => ({ status: 401 }))).rejects.toThrow(/^OS_PASSWORD: .*OS_PROJECT_NAME/);
});
