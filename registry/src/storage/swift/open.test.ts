import { expect, it, onTestFinished } from 'vitest';
import { registrySettings } from '../../settings.js';
import { openSwift } from './open.js';
import { serve, type Reply, type Seen } from '../testing/serve.js';

const account = { OS_CONTAINER: 'docker', OS_USERNAME: 'me', OS_PASSWORD: 'secret', WHARFIE_STORAGE: 'swift' };

async function opening(environment: Record<string, string>, answer: (seen: Seen, address: string) => Reply) {
  const { address, close } = await serve(answer);
  onTestFinished(close);
  const url = (environment['OS_AUTH_URL'] ?? '').replace('ADDRESS', address);
  return openSwift(registrySettings({ ...account, ...environment, OS_AUTH_URL: url }));
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
