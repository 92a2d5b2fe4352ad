import { createHmac } from 'node:crypto';
import { SettingsError } from '@wharfie/shared';
import type { SwiftClient } from './client.js';

/** Seconds within which a download must begin. */
const lifetime = 20 * 60;

/**
 * The container keeps two keys. The first is left to distribution, which writes one of its own there.
 * https://docs.openstack.org/swift/latest/api/temporary_url_middleware.html
 */
const header = 'x-container-meta-temp-url-key-2';

/**
 * An address at which anybody may read one object for a while.
 * @param address of the object, without a query
 * @param now in milliseconds since 1970
 */
export function temporaryUrl(address: string, key: string, now: number): string {
  const url = new URL(address);
  const expires = Math.floor(now / 1000) + lifetime;
  const message = `GET\n${expires}\n${decodeURIComponent(url.pathname)}`;
  const signature = createHmac('sha256', key).update(message).digest('hex');
  return `${address}?temp_url_sig=${signature}&temp_url_expires=${expires}&inline`;
}

/**
 * Lets the container accept what `key` signs.
 * @param digests those that this Swift signs with; undefined when it does not say
 * @throws SettingsError when this Swift, or this user, cannot
 */
export async function installKey(
  client: SwiftClient,
  key: string,
  digests: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<void> {
  const refusal = (reason: string) =>
    new SettingsError('WHARFIE_SWIFT_REDIRECT', `${reason}; unset it, or ask the operator of Swift`);
  if (!digests) throw refusal('this Swift does not say at /info whether it takes TempURLs');
  if (!digests.includes('sha256')) throw refusal('this Swift does not take TempURLs that are signed with sha256');
  const container = await client.send({ method: 'HEAD', accept: [200, 204] }, signal);
  if (container.header(header) === key) return;
  const { status } = await client.send({ method: 'POST', headers: { [header]: key }, accept: [204, 403] }, signal);
  if (status === 403) throw refusal('only who owns the account may set the key for TempURLs on the container');
}
