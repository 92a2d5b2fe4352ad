import { describe, expect, test } from 'vitest';
import { ask, basic, openDoor, openPolicyText, passwordOf, type TestDoor } from './harness.js';

const guesser = { 'X-Forwarded-For': '198.51.100.7' };
const innocent = { 'X-Forwarded-For': '192.0.2.1' };
const open = () => openDoor({ policy: openPolicyText, trusted: '127.0.0.1' });

async function guess(door: TestDoor, times: number, from: Record<string, string> = guesser) {
  for (let time = 0; time < times; time++) {
    expect((await ask(door, 'GET', '/v2/', { ...basic('bob', `guess ${time}`), ...from })).status).toBe(401);
  }
}

describe('who guesses', () => {
  test('is made to wait, and nobody else', async () => {
    const door = await open();
    await guess(door, 10);
    const refused = await ask(door, 'GET', '/v2/', { ...basic('bob'), ...guesser });
    expect(refused).toMatchObject({ status: 429, error: { code: 'TOOMANYREQUESTS' } });
    expect(refused.error?.message).toMatch(/too many wrong passwords: wait \d+ s/);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused.headers['www-authenticate']).toBeUndefined();
    expect(door.asked).toEqual([]);
    expect((await ask(door, 'GET', '/v2/', { ...basic('bob'), ...innocent })).status).toBe(200);
  });

  test('is made to wait at the token endpoint too, by GET and by POST', async () => {
    const door = await open();
    const form = { 'Content-Type': 'application/x-www-form-urlencoded', ...guesser };
    const fields = (password: string) =>
      new URLSearchParams({ grant_type: 'password', username: 'bob', password }).toString();
    for (let time = 0; time < 5; time++) {
      expect((await ask(door, 'POST', '/token', form, fields('wrong'))).status).toBe(401);
      expect((await ask(door, 'GET', '/token', { ...basic('bob', 'wrong'), ...guesser })).status).toBe(401);
    }
    expect((await ask(door, 'POST', '/token', form, fields(passwordOf('bob')))).status).toBe(429);
    expect((await ask(door, 'GET', '/token', { ...basic('bob'), ...guesser })).status).toBe(429);
    expect((await ask(door, 'GET', '/token', { ...basic('bob'), ...innocent })).status).toBe(200);
  });

  test('may pull what is open, and use a token that it has', async () => {
    const door = await open();
    const { body } = await ask(door, 'GET', '/token', { ...basic('eve'), ...guesser });
    const { token } = JSON.parse(body) as { token: string };
    await guess(door, 10);
    expect((await ask(door, 'GET', '/v2/public/app/manifests/1', guesser)).status).toBe(200);
    expect((await ask(door, 'GET', '/v2/', { Authorization: `Bearer ${token}`, ...guesser })).status).toBe(200);
  });

  test('is found in the log and the metrics, a name that is no account’s in neither', async () => {
    const door = await open();
    await guess(door, 10);
    await ask(door, 'GET', '/v2/', { ...basic('bob'), ...guesser });
    for (let time = 0; time < 10; time++) await ask(door, 'GET', '/v2/', { ...basic('hunter2', 'x'), ...innocent });
    const lines = door.log.filter(({ msg }) => msg === 'too many wrong passwords');
    expect(lines).toMatchObject([
      { by: 'login', user: 'bob', address: '198.51.100.7', failures: 10, seconds: 1 },
      { by: 'login', address: '192.0.2.1' },
    ]);
    expect(JSON.stringify(door.log)).not.toContain('hunter2');
    const metrics = await door.metrics.metrics();
    expect(metrics).toContain('wharfie_proxy_login_locks_total{by="login"} 2');
    expect(metrics).toContain('wharfie_proxy_logins_total{outcome="delayed"} 1');
  });

  test('cannot pretend to come from elsewhere', async () => {
    const door = await openDoor({ policy: openPolicyText });
    for (let time = 0; time < 10; time++) {
      await ask(door, 'GET', '/v2/', { ...basic('bob', 'wrong'), 'X-Forwarded-For': `192.0.2.${time}` });
    }
    expect((await ask(door, 'GET', '/v2/', { ...basic('bob'), ...innocent })).status).toBe(429);
  });
});
