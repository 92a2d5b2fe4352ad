import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { describeWith } from './harness/requirements.js';
import { run } from './harness/run.js';
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
