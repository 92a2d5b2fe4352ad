import { parseListenAddress, type ListenAddress } from '@wharfie/shared';
import { expect, test } from 'vitest';
import { doorUrl } from './door-url.js';

test.each([
  ['127.0.0.1:5000', 'http://127.0.0.1:5000'],
  ['registry.example.com:80', 'http://registry.example.com:80'],
  ['[::1]:5000', 'http://[::1]:5000'],
  ['0.0.0.0:5000', 'http://127.0.0.1:5000'],
  [':5000', 'http://127.0.0.1:5000'],
  // Docker takes `localhost` without TLS, too, and it has an address of either kind.
  ['[::]:5000', 'http://localhost:5000'],
  ['unix:/run/wharfie.sock', 'unix:/run/wharfie.sock'],
])('clients on this machine reach %s as %s', (listen, url) => {
  expect(doorUrl(parseListenAddress(listen) as ListenAddress, false)).toBe(url);
});
