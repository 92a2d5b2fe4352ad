import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Engine } from './docker/engine.js';
import { describeWith } from './harness/requirements.js';
import { Wharfie } from './harness/wharfie.js';

describeWith(['root', 'docker'], 'Docker’s engine and client', () => {
  let wharfie: Wharfie;
  let engine: Engine;
  let context: string;
  beforeAll(async () => {
    [wharfie, engine] = await Promise.all([Wharfie.start(), Engine.start()]);
    context = await mkdtemp(join(tmpdir(), 'wharfie-image-'));
    await Promise.all(['one', 'two', 'three'].map((name) => writeFile(join(context, name), randomBytes(200_000))));
    await writeFile(
      join(context, 'Dockerfile'),
      'FROM scratch\nCOPY one /one\nCOPY two /two\nCOPY three /three\nLABEL a=b\nCMD ["/one"]\n',
    );
    await engine.must(['build', '--quiet', '--tag', 'app', context]);
  });
  afterAll(async () => {
    await engine.stop();
    await wharfie.dispose();
    await rm(context, { recursive: true });
  });
  const image = (name: string) => `${wharfie.address}/${name}`;
  const push = async (name: string) => {
    await engine.must(['tag', 'app', image(name)]);
    return engine.docker(['push', image(name)]);
  };

  it('are not let in with a wrong password', async () => {
    const { code, stderr } = await engine.login(wharfie.address, 'admin', 'wrong');
    expect(code).toBe(1);
    expect(stderr).toMatch(/401 Unauthorized|unauthorized/);
  });

  it('push and pull by the commands that npm start prints', async () => {
    const commands = wharfie.stdout.split('\n').filter((line) => line.startsWith('  docker '));
    expect(commands).toHaveLength(3);
    for (const command of commands) {
      const [, ...words] = command.trim().replaceAll('IMAGE', 'app').split(' ');
      await engine.must([...words, ...(words[0] === 'login' ? ['--password-stdin'] : [])], wharfie.password);
    }
    await engine.must(['pull', image('app')]);
  });

  it('log in, push an image of several layers, and pull it back', async () => {
    expect((await engine.login(wharfie.address, 'admin', wharfie.password)).stdout).toContain('Login Succeeded');
    const pushed = await push('team/app:1');
    expect(pushed.code, pushed.stderr).toBe(0);
    const id = (await engine.must(['image', 'inspect', '--format', '{{.Id}}', 'app'])).trim();
    await engine.must(['image', 'rm', '--force', image('team/app:1'), 'app']);
    await engine.must(['pull', image('team/app:1')]);
    expect((await engine.must(['image', 'inspect', '--format', '{{.Id}}', image('team/app:1')])).trim()).toBe(id);
    await engine.must(['tag', image('team/app:1'), 'app']);
  });

  it('push layers that another repository has without sending them', async () => {
    const { code, stdout } = await push('other/app:1');
    expect(code).toBe(0);
    expect(stdout).toContain('Mounted from team/app');
  });

  it('let a colleague pull, and push only when access.yml says so', async () => {
    await wharfie.addUser('bob', 'bobs password');
    expect((await engine.login(wharfie.address, 'bob', 'bobs password')).code).toBe(0);
    await engine.must(['pull', image('team/app:1')]);

    const before = (await wharfie.requests('proxy')).length;
    const refused = await push('team/new:1');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/denied: .*bob may not push to team\/new/);
    // At once: three layers, each tried as a mount from two repositories and as an upload; at a message that it knows the
    // engine would try everything five times.
    const posts = (await wharfie.requests('proxy')).slice(before).filter(({ method }) => method === 'POST');
    expect(posts.length).toBeLessThanOrEqual(12);
    expect(posts.every(({ status }) => status === 403)).toBe(true);

    await wharfie.writeAccess('admins: [admin]\nrules:\n  - repositories: "team/**"\n    push: [bob]\n');
    const allowed = await push('team/new:1');
    expect(allowed.code, allowed.stderr).toBe(0);
    expect((await push('elsewhere/new:1')).stderr).toContain('denied');
  });

  it('are let in no more after logout', async () => {
    await engine.must(['logout', wharfie.address]);
    const { code, stderr } = await engine.docker(['pull', image('team/app:1')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/no basic auth credentials|unauthorized/);
  });

  it('of another machine pull what this one pushed', async () => {
    const second = await Engine.start();
    try {
      expect((await second.login(wharfie.address, 'bob', 'bobs password')).code).toBe(0);
      await second.must(['pull', image('team/new:1')]);
    } finally {
      await second.stop();
    }
  });
});
