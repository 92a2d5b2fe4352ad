import { describe, expect, test } from 'vitest';
import { AddressList } from './address-list.js';

describe('a list of addresses', () => {
  const list = AddressList.parse('192.0.2.7,10.0.0.0/8 , 2001:db8::/32,::1');

  test.each(['192.0.2.7', '10.255.0.1', '2001:db8:1::5', '::1', '::ffff:10.1.2.3', '::ffff:192.0.2.7'])(
    'includes %s',
    (address) => {
      expect(list.includes(address)).toBe(true);
    },
  );

  test.each(['192.0.2.8', '11.0.0.1', '2001:db9::1', '::2', '::ffff:11.0.0.1', '', 'localhost', '10.0.0'])(
    'does not include %j',
    (address) => {
      expect(list.includes(address)).toBe(false);
    },
  );

  test('includes a connection without address only when it says unix', () => {
    expect(list.includes(undefined)).toBe(false);
    expect(AddressList.parse('unix').includes(undefined)).toBe(true);
    expect(AddressList.parse('0.0.0.0/0,::/0').includes('203.0.113.9')).toBe(true);
  });

  test.each(['', '10.0.0.0/33', '::/129', '10.0.0.1,', 'nginx', '10.0.0.0/8/8', '10.0.0', '10.0.0.0/-1', '1.2.3.4:80'])(
    'cannot be %j',
    (text) => {
      expect(() => AddressList.parse(text)).toThrow('is neither');
    },
  );
});
