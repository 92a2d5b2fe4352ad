import { describe, expect, it } from 'vitest';
import { formatListenAddress, isLoopback, parseListenAddress } from './listen-address.js';

describe('an address to listen on', () => {
  it.each([
    ['127.0.0.1:5000', { host: '127.0.0.1', port: 5000 }, true],
    ['localhost:0', { host: 'localhost', port: 0 }, true],
    ['[::1]:5000', { host: '::1', port: 5000 }, true],
    ['127.8.9.10:80', { host: '127.8.9.10', port: 80 }, true],
    ['unix:/run/wharfie.sock', { path: '/run/wharfie.sock' }, true],
    ['unix:relative', { path: 'relative' }, true],
    ['0.0.0.0:65535', { host: '0.0.0.0', port: 65_535 }, false],
    ['[::]:5000', { host: '::', port: 5000 }, false],
    ['registry.example:443', { host: 'registry.example', port: 443 }, false],
    ['127.0.0.1.example:443', { host: '127.0.0.1.example', port: 443 }, false],
  ])('may be %s, and is written so again', (text, address, loopback) => {
    const parsed = parseListenAddress(text);
    expect(parsed).toEqual(address);
    expect(parsed && formatListenAddress(parsed)).toBe(text);
    expect(parsed && isLoopback(parsed)).toBe(loopback);
  });

  it('without a host is every interface', () => {
    expect(parseListenAddress(':5000')).toEqual({ host: '0.0.0.0', port: 5000 });
  });

  it.each([
    '',
    '5000',
    'localhost',
    'localhost:',
    '::1:5000',
    '[::1]',
    '[x]:1',
    'a b:1',
    'a/b:1',
    'x:65536',
    'x:-1',
    'unix:',
  ])('may not be %j', (text) => {
    expect(parseListenAddress(text)).toBeUndefined();
  });
});
