import { expect, it } from 'vitest';
import { temporaryUrl } from './temp-url.js';

it('signs the method, the end and the path as it reads decoded', () => {
  const url = temporaryUrl('https://swift/v1/AUTH_a/a%20b%25c/files/x', 'key', 1_000_000_000_000);
  // printf 'GET\n1000001200\n/v1/AUTH_a/a b%%c/files/x' | openssl dgst -sha256 -hmac key
  const signature = '81da7d757c488ba1e6b3f940140be0319a9539b6840cfd72aafaf2c150fd10d4';
  expect(url).toBe(
    `https://swift/v1/AUTH_a/a%20b%25c/files/x?temp_url_sig=${signature}&temp_url_expires=1000001200&inline`,
  );
});
