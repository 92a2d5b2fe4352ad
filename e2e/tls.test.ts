import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Engine } from './docker/engine.js';
import { freePort } from './harness/free-port.mjs';
import { describeWith } from './harness/requirements.js';
import { must } from './harness/run.js';
import { Wharfie } from './harness/wharfie.js';

describeWith(['root', 'docker'], 'Docker and the door’s own TLS', () => {
  let engine: Engine;
  let wharfie: Wharfie;
  let folder: string;
  let trusted: string;
  let host: string;
  let port: number;
  beforeAll(async () => {
    engine = await Engine.start();
    // What is not loopback, where Docker trusts everybody: the engine's bridge, if nothing else.
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    host = addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '';
    port = await freePort();
    folder = await mkdtemp(join(tmpdir(), 'wharfie-tls-'));
    await openssl('req', '-x509', ...newKey('ca'), '-out', 'ca.crt', '-days', '2', '-subj', '/CN=tests');
    for (const name of ['first', 'second']) await certificate(name);
    await cp(join(folder, 'first.crt'), join(folder, 'cert.pem'));
    await cp(join(folder, 'first.key'), join(folder, 'key.pem'));
    const env = { WHARFIE_TLS_CERT: join(folder, 'cert.pem'), WHARFIE_TLS_KEY: join(folder, 'key.pem') };
    wharfie = await Wharfie.start({ listen: `${host}:${port}`, env });
    trusted = join('/etc/docker/certs.d', wharfie.address);
    await writeFile(join(folder, 'file'), randomBytes(100_000));
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY file /file\nCMD ["/file"]\n');
    await engine.must(['build', '--quiet', '--tag', 'app', folder]);
    await engine.must(['tag', 'app', `${wharfie.address}/team/app:1`]);
  });
  afterAll(async () => {
    await rm(trusted, { recursive: true, force: true });
    await Promise.all([engine.stop(), wharfie.dispose()]);
    await rm(folder, { recursive: true });
  });
  const openssl = (...args: string[]) => must('openssl', args, { cwd: folder });
  const newKey = (name: string) => [
    ...['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', `${name}.key`],
  ];
  const certificate = async (name: string) => {
    await writeFile(join(folder, 'names'), `subjectAltName=IP:${host}\n`);
    await openssl('req', ...newKey(name), '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names', '-days', '1'];
    await openssl('x509', '-req', '-in', `${name}.csr`, ...signing, '-out', `${name}.crt`);
  };
  const login = () => engine.login(wharfie.address, 'admin', wharfie.password);

  it('are strangers until the authority stands in certs.d', async () => {
    const { code, stderr } = await login();
    expect(code).toBe(1);
    expect(stderr).toContain('x509: certificate signed by unknown authority');
    await mkdir(trusted, { recursive: true });
    await cp(join(folder, 'ca.crt'), join(trusted, 'ca.crt'));
    expect((await login()).stdout).toContain('Login Succeeded');
    await engine.must(['push', `${wharfie.address}/team/app:1`]);
  });

  it('take a renewed certificate without a restart', async () => {
    await cp(join(folder, 'second.crt'), join(folder, 'cert.pem'));
    await cp(join(folder, 'second.key'), join(folder, 'key.pem'));
    await wharfie.said(/the renewed TLS certificate is in use/);
    expect((await login()).stdout).toContain('Login Succeeded');
  });

  it('are sent for tokens to an https address, and pull there without an account', async () => {
    await wharfie.writeAccess('admins: [admin]\nrules:\n- {repositories: "team/**", pull: [$anonymous]}\n');
    await engine.must(['push', `${wharfie.address}/team/app:1`]);
    await engine.must(['logout', wharfie.address]);
    await engine.must(['pull', `${wharfie.address}/team/app:1`]);
  });

  it('speak TLS 1.2 or later: what is older is refused', async () => {
    const ask = async (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') => {
      const versions = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT:@SECLEVEL=0' };
      const socket = connect({ host, port, rejectUnauthorized: false, ...versions });
      await once(socket, 'secureConnect');
      const spoken = socket.getProtocol();
      socket.destroy();
      return spoken;
    };
    expect(await ask('TLSv1.2')).toBe('TLSv1.2');
    expect(await ask('TLSv1.3')).toBe('TLSv1.3');
    await expect(ask('TLSv1.1')).rejects.toThrow(/alert protocol version|unsupported protocol|ECONNRESET/i);
  });
});
