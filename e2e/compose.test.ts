import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Engine } from './docker/engine.js';
import { freshClone, Project } from './docker/project.js';
import { Distribution } from './harness/distribution.js';
import { pullImage, pushImage } from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { must } from './harness/run.js';
import { projectRoot } from './harness/wharfie.js';

const baseImage = 'node:24-bookworm-slim';

describeWith(['root', 'docker', 'compose', 'distribution'], 'docker compose', () => {
  let engine: Engine;
  let folder: string;
  let root: string;
  let project: Project;
  const projects: Project[] = [];
  const create = async (options: Partial<Parameters<typeof Project.create>[1]> = {}) => {
    const made = await Project.create(engine, { root, ...options });
    projects.push(made);
    return made;
  };
  /** An image with one layer of that many random bytes. */
  const build = async (name: string, bytes = 100_000) => {
    const context = join(folder, name);
    await mkdir(context);
    await writeFile(join(context, 'bytes'), randomBytes(bytes));
    await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY bytes /\n');
    await engine.must(['build', '--quiet', '--tag', name, context]);
  };
  const imageId = async (name: string) => (await engine.must(['image', 'inspect', '--format', '{{.Id}}', name])).trim();
  /** Pulls an image as somebody who does not have it, and returns what it is. */
  const pulled = async (name: string) => {
    await engine.docker(['image', 'rm', '--force', name]);
    await engine.must(['pull', '--quiet', name]);
    return imageId(name);
  };

  beforeAll(async () => {
    engine = await Engine.start();
    await must(fileURLToPath(new URL('docker/base-image.sh', import.meta.url)), [baseImage], { env: engine.env });
    folder = await mkdtemp(join(tmpdir(), 'wharfie-compose-'));
    root = await freshClone(projectRoot, join(folder, 'clone'));
    project = await create();
    await build('app');
  }, 600_000);
  afterEach(async () => {
    for (const other of projects.splice(1)) await other.dispose();
  });
  afterAll(async () => {
    await project.dispose();
    await engine.stop();
    await rm(folder, { recursive: true });
  });

  it('goes from a fresh clone to a pushed image by the commands that the first up prints', async () => {
    await project.up();
    const logs = await project.logs('proxy');
    const commands = logs.split('\n').filter((line) => line.startsWith('  docker '));
    expect(commands).toHaveLength(3);
    for (const command of commands) {
      const [, ...words] = command.trim().replaceAll('IMAGE', 'app').split(' ');
      const input = words[0] === 'login' ? ['--password-stdin'] : [];
      await engine.must([...words, ...input], await project.password());
    }
    expect(await pulled(`${project.address}/app`)).toBe(await imageId('app'));
    expect(logs.match(/password: /g)).toHaveLength(1);
    expect(logs).not.toContain('in the clear');
  }, 600_000);

  it('runs both services as a plain user that can write nothing but its data, without a shell', async () => {
    for (const service of ['proxy', 'registry']) {
      const container = `${project.name}-${service}-1`;
      expect(await project.inspect(service, '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}')).toBe('node true');
      expect(await project.inspect(service, '{{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}')).toBe(
        '[ALL] [no-new-privileges:true]',
      );
      expect(await project.inspect(service, '{{.Path}} {{.Config.Entrypoint}}')).toBe('node []');
      expect(await project.inspect(service, '{{.HostConfig.RestartPolicy.Name}}')).toBe('unless-stopped');
      expect(await project.inspect(service, '{{.State.Health.Status}}')).toBe('healthy');
      expect(Number(await project.inspect(service, '{{.HostConfig.Memory}}'))).toBeGreaterThan(0);
      expect((await engine.must(['exec', container, 'id', '-un'])).trim()).toBe('node');
      expect((await engine.docker(['exec', container, 'touch', '/app/file'])).stderr).toContain('Read-only');
      // Nothing but what runs: no development package, no source.
      const modules = await engine.must(['exec', container, 'ls', '/app', '/app/node_modules']);
      expect(modules).not.toMatch(/typescript|vitest|eslint|e2e/);
    }
    expect(await project.inspect('registry', '{{json .NetworkSettings.Ports}}')).toBe('{}');
    expect(await project.inspect('proxy', '{{(index (index .NetworkSettings.Ports "5000/tcp") 0).HostIp}}')).toBe(
      '127.0.0.1',
    );
  });

  it('has images that add little to the base image, and say what they are', async () => {
    const size = async (image: string) =>
      Number(await engine.must(['image', 'inspect', '--format', '{{.Size}}', image])) / 1e6;
    const base = await size(baseImage);
    for (const name of ['wharfie-proxy', 'wharfie-registry']) {
      expect((await size(name)) - base, name).toBeLessThan(30);
      const labels = await engine.must(['image', 'inspect', '--format', '{{json .Config.Labels}}', name]);
      expect(JSON.parse(labels)).toMatchObject({
        'org.opencontainers.image.title': expect.stringContaining('Wharfie') as string,
        'org.opencontainers.image.licenses': 'Apache-2.0',
        'org.opencontainers.image.version': expect.stringMatching(/^\d+\.\d+\.\d+$/) as string,
      });
    }
  });

  it('has a doctor that finds nothing to mend', async () => {
    const { code, stdout } = await project.wharfie(['doctor']);
    expect(stdout).toContain('deleted by the running registry');
    expect(stdout).not.toMatch(/^(warn|bad)/m);
    expect(code).toBe(0);
  });

  it('lets users in and out while it runs', async () => {
    const added = await project.wharfie(['users', 'add', 'alice', '--password-stdin'], 'alices password\n');
    expect(added.code, added.stderr).toBe(0);
    expect((await project.wharfie(['users', 'list'])).stdout).toMatch(/^alice\b/m);
    await expect.poll(async () => (await engine.login(project.address, 'alice', 'alices password')).code).toBe(0);
    await pulled(`${project.address}/app`);
    await engine.must(['tag', 'app', `${project.address}/team/app`]);
    expect((await engine.docker(['push', `${project.address}/team/app`])).stderr).toContain('alice may not push');

    const granted = await project.wharfie(['access', 'grant', 'alice', 'push', 'team/**']);
    expect(granted.code, granted.stderr).toBe(0);
    expect((await project.wharfie(['access', 'check', 'alice', 'push', 'team/app'])).code).toBe(0);
    await expect.poll(async () => (await engine.docker(['push', `${project.address}/team/app`])).code).toBe(0);

    expect((await project.wharfie(['users', 'remove', 'alice'])).stdout).toContain('still names alice');
    await expect.poll(async () => (await engine.docker(['pull', `${project.address}/app`])).code).toBe(1);
    expect((await engine.login(project.address, 'alice', 'alices password')).code).toBe(1);
  });

  it('has everything again after down and up', async () => {
    const password = await project.password();
    await project.down({ volumes: false });
    await project.up();
    expect(await project.logs('proxy')).not.toContain('password:');
    expect((await engine.login(project.address, 'admin', password)).code).toBe(0);
    expect(await pulled(`${project.address}/team/app`)).toBe(await imageId('app'));
  });

  it.each(['registry', 'proxy'])('finishes a push in the middle of which the %s died', async (service) => {
    const image = `${project.address}/killed/${service}`;
    await build(`large-${service}`, 60_000_000);
    await engine.must(['tag', `large-${service}`, image]);
    const images = await project.volume('images');
    const uploads = async () =>
      (await readdir(images, { recursive: true })).filter((name) => /uploads\/.*\/0\./.test(name));
    // What another crash has left says nothing of this push.
    const before = new Set(await uploads());
    const push = engine.docker(['push', image]);
    // Under way, as soon as the registry has some of it.
    await expect.poll(async () => (await uploads()).some((name) => !before.has(name))).toBe(true);
    await project.crash(service);
    const { code, stderr } = await push;
    expect(code, stderr).toBe(0);
    expect(Number(await project.inspect(service, '{{.RestartCount}}'))).toBe(1);
    expect(await pulled(image)).toBe(await imageId(`large-${service}`));
  });

  it('has two projects side by side that know nothing of each other', async () => {
    const other = await create();
    await other.up();
    const password = await other.password();
    await pushImage(other.call(password), 'only/here', '1');
    const { status } = await project.call(password)('GET', '/v2/');
    expect(status).toBe(401);
    expect((await engine.login(other.address, 'admin', password)).code).toBe(0);
    expect((await engine.docker(['pull', `${other.address}/app`])).stderr).toContain('not found');
  });

  it('takes the first account’s password from a file, and keeps it to itself', async () => {
    const secrets = join(folder, 'secrets');
    await mkdir(secrets);
    await writeFile(join(secrets, 'admin'), 'from a file\n', { mode: 0o644 });
    const env = { WHARFIE_SECRETS: secrets, WHARFIE_ADMIN_PASSWORD_FILE: '/run/secrets/admin' };
    const other = await create({ env });
    await other.up();
    expect((await other.call('from a file')('GET', '/v2/')).status).toBe(200);
    expect(await other.logs('proxy')).not.toMatch(/from a file|password: /);
    expect(await other.inspect('proxy', '{{.Config.Env}}')).not.toContain('from a file');
  });

  it('brings in a new version, one registry after the other, without a lost request', async () => {
    for (const target of ['proxy', 'registry']) {
      const tag = `wharfie-${target}:next`;
      await engine.must(['build', '--quiet', '--target', target, '--build-arg', 'VERSION=9.9.9', '--tag', tag, root]);
    }
    const rolling = await create({ overrides: ['two-registries'] });
    await rolling.up();
    const call = rolling.call(await rolling.password());
    await pushImage(call, 'rolling/app', 'first');
    let pushes = 0;
    let upgrading = true;
    const clients = Array.from({ length: 4 }, async (_, client) => {
      while (upgrading) {
        const tag = `${client}-${pushes++}`;
        expect(await pullImage(call, 'rolling/app', 'first')).toBeTruthy();
        const manifest = await pushImage(call, 'rolling/app', tag);
        expect(await pullImage(call, 'rolling/app', tag)).toBe(manifest);
      }
    });
    const lost: unknown[] = [];
    for (const client of clients) client.catch((error: unknown) => lost.push(error));
    for (const registry of ['registry', 'registry-2'])
      await rolling.up(['--no-deps', registry], { WHARFIE_TAG: 'next' });
    upgrading = false;
    await Promise.allSettled(clients);
    expect(lost).toEqual([]);
    expect(pushes).toBeGreaterThan(4);
    for (const registry of ['registry', 'registry-2'])
      expect(await rolling.inspect(registry, '{{.Config.Image}}')).toBe('wharfie-registry:next');
  });

  it('serves a folder of this machine that distribution filled', async () => {
    const images = join(folder, 'images');
    const distribution = await Distribution.start(`filesystem: {rootdirectory: ${images}}`);
    const manifest = await pushImage(distribution.call, 'old/app', '1');
    await distribution.stop();
    await must('chown', ['-R', '1000:1000', images]);
    await must('chmod', ['a+x', folder]);
    const other = await create({ overrides: ['host-folder'], env: { WHARFIE_STORAGE_FOLDER: images } });
    await other.up();
    const call = other.call(await other.password());
    expect(await pullImage(call, 'old/app', '1')).toBe(manifest);
    await pushImage(call, 'new/app', '1');
    expect(await readdir(join(images, 'docker', 'registry', 'v2', 'repositories'))).toEqual(['new', 'old']);
  });

  it('speaks TLS with a certificate of one’s own', async () => {
    const tls = join(folder, 'tls');
    await mkdir(tls);
    const [cert, key] = [join(tls, 'fullchain.pem'), join(tls, 'privkey.pem')];
    const subject = ['-days', '1', '-subj', '/CN=localhost'];
    await must('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, ...subject]);
    await must('chown', ['-R', '1000:1000', tls]);
    const other = await create({ overrides: ['tls'], env: { WHARFIE_TLS_FOLDER: tls } });
    await other.up();
    await expect(other.call('')('GET', '/v2/')).rejects.toThrow();
    // Docker asks for no authority on 127.0.0.1.
    expect((await engine.login(other.address, 'admin', await other.password())).code).toBe(0);
    await engine.must(['tag', 'app', `${other.address}/app`]);
    await engine.must(['push', '--quiet', `${other.address}/app`]);
    expect(await other.logs('proxy')).toContain('https://');
  });

  describe('with Swift', () => {
    let swift: Project;
    beforeAll(async () => {
      swift = await Project.create(engine, { root, profile: 'swift' });
      await swift.up();
    }, 600_000);
    afterAll(() => swift.dispose());

    it('does what docs/post.md shows', async () => {
      expect((await engine.login(swift.address, 'admin', await swift.password())).code).toBe(0);
      await engine.must(['tag', 'app', 'busybox']);
      const post = await readFile(join(projectRoot, 'docs', 'post.md'), 'utf8');
      const commands = [...post.matchAll(/^```sh\n# tested by e2e\/compose\.test\.ts\n([^]*?)^```/gm)]
        .flatMap(([, block = '']) => block.split('\n'))
        // Here is a clone, and nobody to type a password.
        .filter((line) => !/^git clone|^docker login/.test(line))
        .map((line) => line.replace('127.0.0.1:5000', swift.address).replace('compose exec', 'compose exec -T'));
      expect(commands.length).toBeGreaterThan(12);
      const said = await must('sh', ['-ec', commands.join('\n')], { cwd: root, env: swift.environment });
      expect(said).toContain('password: ');
      expect(said).toMatch(/\.data$/m);
      expect(said).toContain('team/**');
    });

    it('keeps images in the one of --profile swift, not on the disk', async () => {
      expect(await readdir(await swift.volume('images'))).toEqual([]);
      const { stdout } = await swift.wharfie(['access', 'check', 'alice', 'push', 'team/busybox']);
      expect(stdout).toContain('allowed');
    });

    it('keeps images in an OpenStack elsewhere, with its password in a file', async () => {
      const secrets = join(folder, 'openstack');
      await mkdir(secrets);
      await writeFile(join(secrets, 'password'), 'wharfie\n', { mode: 0o644 });
      const other = await create({
        overrides: ['openstack'],
        env: {
          OS_AUTH_URL: 'http://cloud:8080/auth/v1.0',
          OS_USERNAME: 'wharfie:wharfie',
          OS_PASSWORD_FILE: '/run/secrets/password',
          OS_CONTAINER: 'elsewhere',
          WHARFIE_SECRETS: secrets,
        },
      });
      // The other project's Swift stands for the cloud: on the network that leads outside.
      await other.compose('create');
      await engine.must(['network', 'connect', '--alias', 'cloud', `${other.name}_outside`, `${swift.name}-swift-1`]);
      await other.up();
      const call = other.call(await other.password());
      const manifest = await pushImage(call, 'team/cloud', '1');
      expect(await pullImage(call, 'team/cloud', '1')).toBe(manifest);
      expect(await readdir(await other.volume('images'))).toEqual([]);
      await engine.must(['network', 'disconnect', `${other.name}_outside`, `${swift.name}-swift-1`]);
    });
  });

  // One variable is missing at a time: of several, compose names any one.
  it.each([
    ['openstack', 'OS_AUTH_URL', { OS_CONTAINER: 'docker' }],
    ['openstack', 'OS_CONTAINER', { OS_AUTH_URL: 'http://cloud:5000/v3' }],
    ['tls', 'WHARFIE_TLS_FOLDER', {}],
    ['host-folder', 'WHARFIE_STORAGE_FOLDER', {}],
  ])('says when deploy/compose/%s.yml misses %s', async (override, variable, env) => {
    const other = await Project.create(engine, { root, overrides: [override], env });
    await expect(other.compose('config', ['--quiet'])).rejects.toThrow(`variable ${variable} is missing`);
  });

  it('is understood by docker-compose 1.29, too', async () => {
    const settings = {
      OS_AUTH_URL: 'http://x',
      OS_CONTAINER: 'x',
      WHARFIE_TLS_FOLDER: '/x',
      WHARFIE_STORAGE_FOLDER: '/x',
    };
    for (const override of ['openstack', 'tls', 'host-folder', 'two-registries']) {
      const files = ['-f', 'docker-compose.yml', '-f', `deploy/compose/${override}.yml`];
      await must('docker-compose', [...files, 'config', '--quiet'], { cwd: root, env: settings });
    }
  });
});
