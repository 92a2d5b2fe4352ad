import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Engine } from './docker/engine.js';
import { describeWith } from './harness/requirements.js';
import { must, run } from './harness/run.js';
import { projectRoot } from './harness/wharfie.js';

const units = join(projectRoot, 'deploy', 'systemd');
const userData = join(projectRoot, 'deploy', 'cloud-init.yml');

describeWith(['systemd'], 'the systemd units', () => {
  it('are what systemd understands, without a warning', async () => {
    const files = readdirSync(units).map((name) => join(units, name));
    expect(files).toHaveLength(2);
    const { code, stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...files]);
    expect(code, stderr).toBe(0);
    expect(stdout + stderr).toBe('');
  });

  it('give the services little more than they need', async () => {
    for (const name of readdirSync(units)) {
      // Exposure from 0 to 100, as systemd counts it.
      const args = ['security', '--offline=true', '--threshold=20', join(units, name)];
      const { code, stdout } = await run('systemd-analyze', args);
      expect(code, stdout).toBe(0);
    }
  });
});

describeWith(['cloud-init'], 'the user data of a fresh machine', () => {
  it('is what cloud-init understands', async () => {
    const { code, stdout, stderr } = await run('cloud-init', ['schema', '--config-file', userData]);
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toContain('Valid');
  });

  it('starts the units that are there', () => {
    const enabled = /systemctl enable --now (.*)$/m.exec(readFileSync(userData, 'utf8'))?.[1]?.split(' ') ?? [];
    expect(enabled.map((name) => `${name}.service`).sort()).toEqual(readdirSync(units).sort());
  });
});

describeWith(['docker'], 'a Docker engine of the tests', () => {
  it('leaves nothing of its own on the machine', async () => {
    const engine = await Engine.start();
    const format = '{{index .Options "com.docker.network.bridge.name"}}';
    const bridge = (await engine.must(['network', 'inspect', 'bridge', '--format', format])).trim();
    const traces = async () => {
      const [rules, links] = [await must('iptables-save', []), await must('ip', ['-oneline', 'link'])];
      const groups = await must('find', ['/sys/fs/cgroup', '-maxdepth', '2', '-name', `${bridge}*`]);
      return `${rules}${links}${groups}`.split('\n').filter((line) => line.includes(bridge));
    };
    try {
      expect(await traces()).not.toEqual([]);
    } finally {
      await engine.stop();
    }
    expect(await traces()).toEqual([]);
  });
});
