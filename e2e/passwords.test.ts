import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Engine } from './docker/engine.js';
import { describeWith } from './harness/requirements.js';
import { Wharfie } from './harness/wharfie.js';

const layers = 50;

describeWith(['root', 'docker'], `a push of ${layers} layers by Docker`, () => {
  let engine: Engine;
  let context: string;
  beforeAll(async () => {
    engine = await Engine.start();
    context = await mkdtemp(join(tmpdir(), 'wharfie-layers-'));
    const names = Array.from({ length: layers }, (_, n) => `file${n}`);
    await Promise.all(names.map((name) => writeFile(join(context, name), name)));
    const copies = names.map((name) => `COPY ${name} /${name}\n`).join('');
    await writeFile(join(context, 'Dockerfile'), `FROM scratch\n${copies}CMD ["/file0"]\n`);
    await engine.must(['build', '--quiet', '--tag', 'app', context]);
  });
  afterAll(async () => {
    await engine.stop();
    await rm(context, { recursive: true });
  });

  it.each([
    ['with a password at every request', '$authenticated'],
    ['with tokens', '$anonymous'],
  ])('costs one bcrypt with its login: %s', async (_, whoever) => {
    const wharfie = await Wharfie.start();
    try {
      await wharfie.writeAccess(`admins: [admin]\nrules:\n- {repositories: "**", pull: [${whoever}]}\n`);
      expect((await engine.login(wharfie.address, 'admin', wharfie.password)).code).toBe(0);
      await engine.must(['tag', 'app', `${wharfie.address}/team/app:1`]);
      await engine.must(['push', `${wharfie.address}/team/app:1`]);
      const requests = await wharfie.requests('proxy');
      expect(requests.filter(({ login }) => login === 'accepted').length).toBeGreaterThan(4 * layers);
      expect(await metric(wharfie, 'wharfie_proxy_bcrypt_checks_total')).toBe(1);
    } finally {
      await wharfie.dispose();
    }
  });
});

async function metric(wharfie: Wharfie, name: string): Promise<number> {
  const admin = wharfie.environment['WHARFIE_ADMIN_LISTEN'] ?? '';
  const page = await (await fetch(`http://${admin}/metrics`)).text();
  return Number(new RegExp(`^${name} (.+)$`, 'm').exec(page)?.[1]);
}
