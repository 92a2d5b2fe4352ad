import type { OciError } from '@wharfie/shared';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Guesses, networkOf, type Lock } from './guesses.js';

const home = '192.0.2.1';
const elsewhere = '198.51.100.7';
const right = () => Promise.resolve(true);
const wrong = () => Promise.resolve(false);

describe('Guesses', () => {
  let guesses: Guesses;
  let locks: Lock[];
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] });
    locks = [];
    guesses = new Guesses((lock) => locks.push(lock));
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const fail = async (times: number, name = 'bob', address = home) => {
    for (let time = 0; time < times; time++) await guesses.attempt(name, address, wrong);
  };
  /** Seconds to wait, 0 when nothing keeps from trying. */
  const wait = (name = 'bob', address = home): number => {
    try {
      guesses.refuseWhileLocked(name, address);
      return 0;
    } catch (error) {
      expect(error).toMatchObject({ status: 429, code: 'TOOMANYREQUESTS' });
      return Number((error as OciError).headers['Retry-After']);
    }
  };

  it('lets some mistakes pass, then makes each further one wait twice as long, up to a quarter of an hour', async () => {
    await fail(9);
    expect(wait()).toBe(0);
    const waits = [];
    for (let time = 0; time < 12; time++) {
      await fail(1);
      waits.push(wait());
      vi.advanceTimersByTime(wait() * 1000);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    expect(locks[0]).toEqual({ by: 'login', name: 'bob', address: home, failures: 10, seconds: 1 });
  });

  it('checks nothing while there is a wait', async () => {
    await fail(10);
    const check = vi.fn(right);
    await expect(guesses.attempt('bob', home, check)).rejects.toMatchObject({ problem: 'TOOMANYREQUESTS' });
    expect(check).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1000);
    expect(await guesses.attempt('bob', home, check)).toBe(true);
    expect(wait()).toBe(0);
  });

  it('lets the right password in from an address that did not guess', async () => {
    await fail(10);
    for (let n = 0; n < 100; n++) await guesses.attempt('bob', `203.0.113.${n}`, wrong);
    expect(wait('bob', elsewhere)).toBe(0);
    expect(await guesses.attempt('bob', elsewhere, right)).toBe(true);
  });

  it('does not let an address that is known to be good suffer from others', async () => {
    await guesses.attempt('bob', home, right);
    for (let n = 0; n < 100; n++) await guesses.attempt('bob', `203.0.113.${n}`, wrong);
    // The same address, at other accounts.
    for (let n = 0; n < 30; n++) await guesses.attempt(`name${n}`, home, wrong);
    expect(wait('carol', home)).toBeGreaterThan(0);
    await fail(1);
    expect(wait()).toBe(0);
    await fail(9);
    expect(wait()).toBe(1);
  });

  it('makes an address wait that tries many names', async () => {
    for (let n = 0; n < 30; n++) await guesses.attempt(`name${n}`, home, wrong);
    expect(wait('another')).toBe(1);
    expect(wait('another', elsewhere)).toBe(0);
  });

  it('makes those wait longer who share in the guessing at one account', async () => {
    for (let n = 0; n < 60; n++) await guesses.attempt('bob', `203.0.113.${n}`, wrong);
    expect(wait('bob', '203.0.113.3')).toBe(60);
    expect(wait('carol', '203.0.113.3')).toBe(0);
    expect(wait('bob', elsewhere)).toBe(0);
    expect(locks.at(-1)).toMatchObject({ by: 'account', failures: 60, seconds: 60 });
  });

  it('lets no more guesses run side by side than in a row', async () => {
    let checked = 0;
    const slow = async () => {
      checked++;
      await new Promise(setImmediate);
      return false;
    };
    const attempts = Array.from({ length: 100 }, () => guesses.attempt('bob', home, slow));
    const refused = (await Promise.allSettled(attempts)).filter(({ status }) => status === 'rejected');
    expect(checked).toBe(10);
    expect(refused).toHaveLength(90);
  });

  it('keeps no one waiting for ever who is right, however many come at once', async () => {
    const slow = async () => {
      await new Promise(setImmediate);
      return true;
    };
    const attempts = Array.from({ length: 200 }, (_, n) => guesses.attempt(`name${n}`, home, slow));
    expect(await Promise.all(attempts)).toEqual(Array.from({ length: 200 }, () => true));
  });

  it('says "too many" rather than let logins wait without bound', async () => {
    let open!: () => void;
    const opened = new Promise<boolean>((resolve) => {
      open = () => {
        resolve(true);
      };
    });
    const attempts = Array.from({ length: 1100 }, (_, n) => guesses.attempt(`name${n}`, home, () => opened));
    const settled = Promise.allSettled(attempts);
    open();
    expect((await settled).filter(({ status }) => status === 'rejected')).toHaveLength(1100 - 1030);
  });

  it('counts a check that fails for another reason neither way', async () => {
    for (let time = 0; time < 20; time++) {
      await expect(guesses.attempt('bob', home, () => Promise.reject(new Error('no thread')))).rejects.toThrow(
        'no thread',
      );
    }
    expect(wait()).toBe(0);
  });

  it('takes a /64 of IPv6 for one address', async () => {
    for (let n = 0; n < 10; n++) await guesses.attempt('bob', `2001:db8:1:2::${n}`, wrong);
    expect(wait('bob', '2001:db8:1:2:ffff:ffff:ffff:ffff')).toBe(1);
    expect(wait('bob', '2001:db8:1:3::1')).toBe(0);
  });

  it('remembers a bounded number of names and addresses, of a million that are tried', async () => {
    for (let n = 0; n < 1_000_000; n++) {
      await guesses.attempt(`name${n}`, `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, wrong);
    }
    expect(guesses.size).toBeLessThanOrEqual(60_000);
  }, 120_000);
});

describe('networkOf', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['unix', 'unix'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:DB8:0:0:1:2:3:4', '2001:db8:0:0::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::', 'fe80:0:0:0::/64'],
    ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
