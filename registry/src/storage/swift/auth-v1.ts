import type { Login } from './session.js';
import { SwiftRefused, ask, trimmed } from './session.js';

/**
 * Version 1, as TempAuth, SoftLayer and others have it: the user is `account:user`, and two headers say it all.
 * https://docs.openstack.org/swift/latest/overview_auth.html
 */
export function loginV1(authUrl: string, username: string, password: string): Login {
  return async (dispatcher, signal) => {
    const headers = { 'x-auth-user': username, 'x-auth-key': password };
    const answer = await ask(authUrl, { method: 'GET', headers }, dispatcher, signal);
    const token = answer.headers['x-auth-token'];
    const storageUrl = answer.headers['x-storage-url'];
    if (typeof token !== 'string' || typeof storageUrl !== 'string')
      throw new SwiftRefused(200, `the login at ${authUrl}`, 'there is no token in the answer');
    // Seconds that are left: TempAuth gives the same token to everybody until it ends.
    const left = Number(answer.headers['x-auth-token-expires'] ?? NaN);
    return {
      token,
      storageUrl: trimmed(storageUrl),
      expires: Number.isFinite(left) ? Date.now() + left * 1000 : undefined,
    };
  };
}
