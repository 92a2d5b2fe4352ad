import { createLogger } from '@wharfie/shared';
import { execFile } from 'node:child_process';
import { EventEmitter, on, once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { expect, onTestFinished, test, vi } from 'vitest';
import { describeWith } from '../../e2e/harness/requirements.js';
import { createDoor } from '../src/door.js';
import { followTls, loadTls, type TlsFiles } from '../src/tls.js';
import { dial, heard, listenOn } from './harness.js';

const run = promisify(execFile);

async function certificateFor(name: string): Promise<TlsFiles> {
  const folder = await mkdtemp(join(tmpdir(), 'wharfie-tls-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', files.key];
  await run('openssl', ['req', '-x509', ...key, '-out', files.cert, '-days', '1', '-subj', `/CN=${name}`]);
  return files;
}

/** The name on the certificate that the server shows to a new connection. */
async function shownBy(server: Server): Promise<string | string[] | undefined> {
  const { port } = server.address() as AddressInfo;
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

test('a door that closes does not wait for handshakes', async () => {
  const { server, connections } = createDoor({ tls: {}, idle: 10_000, headers: 10_000, maxConnections: 10 });
  const socket = dial({ port: await listenOn(server) });
  const ended = heard(socket);
  await once(server, 'connection');
  await connections.close(0.1);
  expect(await ended).toBe('');
}, 5_000);

describeWith(['openssl'], 'TLS', () => {
  test('takes a renewed certificate without a restart, and never half of one', async () => {
    const [first, second] = [await certificateFor('first'), await certificateFor('second')];
    const loaded = await loadTls(first);
    const server = createServer(loaded);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const lines = new EventEmitter();
    const logged = async (text: string) => {
      for await (const [line] of on(lines, 'line')) if (String(line).includes(text)) return;
    };
    const write = (line: string) => {
      lines.emit('line', line);
    };
    const log = createLogger('proxy', { level: 'info', format: 'json' }, { write });
    const following = followTls(server, first, loaded, log, 20);
    onTestFinished(() => {
      following.close();
      server.close();
    });
    expect(await shownBy(server)).toBe('first');
    await cp(second.cert, first.cert);
    await logged('cannot be used together');
    expect(await shownBy(server)).toBe('first');
    await writeFile(first.key, '');
    await logged('is empty');
    expect(await shownBy(server)).toBe('first');
    await cp(second.key, first.key);
    await logged('the renewed TLS certificate is in use');
    expect(await shownBy(server)).toBe('second');
  });

  test('says of a certificate that has ended that clients refuse it', async () => {
    const files = await certificateFor('old');
    const server = createServer();
    const lines: string[] = [];
    const log = createLogger('proxy', { level: 'info', format: 'json' }, { write: (line: string) => lines.push(line) });
    const follow = async () => {
      followTls(server, files, await loadTls(files), log).close();
    };
    await follow();
    expect(lines).toEqual([]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2 * 86_400_000 });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    await follow();
    const refusal = expect.stringMatching(/clients refuse it: renew it/) as unknown;
    expect(lines).toEqual([refusal]);
    const following = followTls(server, files, await loadTls(files), log, 20);
    onTestFinished(() => {
      following.close();
    });
    const renewed = await certificateFor('as old');
    await cp(renewed.key, files.key);
    await cp(renewed.cert, files.cert);
    await vi.waitFor(() => {
      expect(lines.slice(-2)).toEqual([expect.stringContaining('in use'), refusal]);
    });
  });

  test.each([
    ['a missing file', async ({ cert }: TlsFiles) => rm(cert), /^WHARFIE_TLS_CERT: .*cannot be read \(ENOENT\)/],
    ['a missing key', async ({ key }: TlsFiles) => rm(key), /^WHARFIE_TLS_KEY: .*cannot be read \(ENOENT\)/],
    ['an empty file', async ({ cert }: TlsFiles) => writeFile(cert, ''), /^WHARFIE_TLS_CERT: .*is empty/],
    ['an empty key', async ({ key }: TlsFiles) => writeFile(key, ''), /^WHARFIE_TLS_KEY: .*is empty/],
    ['what is no PEM', async ({ cert }: TlsFiles) => writeFile(cert, 'hello'), /^WHARFIE_TLS_CERT: .*used together/],
  ])('refuses %s', async (_, spoil, message) => {
    const files = await certificateFor('x');
    await spoil(files);
    await expect(loadTls(files)).rejects.toThrow(message);
  });
});
