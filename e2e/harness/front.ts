import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.mjs';
import { must } from './run.js';
import { projectRoot } from './wharfie.js';

/** A proxy with TLS in front of the door, as docs/deployment has it, with the addresses and files of a test. */
export class Front {
  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
    readonly address: string,
    readonly certificate: string,
  ) {}

  /**
   * Starts Debian's nginx or haproxy with the documented configuration.
   * @param change what a test does to its text
   */
  static async start(kind: 'nginx' | 'haproxy', door: string, change = (text: string) => text): Promise<Front> {
    const folder = await mkdtemp(join(tmpdir(), 'wharfie-front-'));
    const address = `127.0.0.1:${await freePort()}`;
    const certificate = join(folder, 'hub.example.crt');
    await makeCertificate(folder, certificate);
    const file = { nginx: 'nginx.conf', haproxy: 'haproxy.cfg' }[kind];
    const documented = await readFile(join(projectRoot, 'docs', 'deployment', file), 'utf8');
    const text = change(documented)
      .replaceAll('127.0.0.1:5000', door)
      .replaceAll('/etc/ssl', folder)
      .replace(/(listen|bind) (:?)443/, `$1 ${address}`);
    const configuration = join(folder, file);
    await writeFile(configuration, kind === 'nginx' ? wholeNginx(text, folder) : text);
    await mkdir(join(folder, 'temporary'));
    const child = spawn(
      kind,
      kind === 'nginx'
        ? ['-p', folder, '-c', configuration, '-e', join(folder, 'error.log'), '-g', 'daemon off;']
        : ['-db', '-f', configuration],
      { stdio: ['ignore', 'inherit', 'inherit'], env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` } },
    );
    const front = new Front(child, folder, address, certificate);
    await front.listens();
    return front;
  }

  /** A folder with the certificate under the name that skopeo and Docker look for. */
  get certificates(): string {
    return join(this.folder, 'certificates');
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null) {
      this.child.kill();
      await once(this.child, 'exit');
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  private async listens(): Promise<void> {
    const [host = '', port] = this.address.split(':');
    for (;;) {
      if (this.child.exitCode !== null) throw new Error(`${this.child.spawnfile} ended with ${this.child.exitCode}`);
      const socket = connect(Number(port), host);
      const there = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      socket.destroy();
      if (there) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function makeCertificate(folder: string, certificate: string): Promise<void> {
  const key = join(folder, 'hub.example.key');
  const names = ['-subj', '/CN=hub.example', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:hub.example'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await must('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', certificate]);
  const pem = await readFile(certificate, 'utf8');
  await writeFile(join(folder, 'hub.example.pem'), pem + (await readFile(key, 'utf8')));
  await mkdir(join(folder, 'certificates'));
  await writeFile(join(folder, 'certificates', 'ca.crt'), pem);
}

/** What Debian's nginx.conf has around the files in conf.d, with every path in `folder`. */
function wholeNginx(text: string, folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (what) => `${what}_temp_path ${folder}/temporary/${what};`,
  );
  return `user root;\npid ${folder}/pid;\nevents {}\nhttp {\naccess_log off;\n${temporary.join('\n')}\n${text}}\n`;
}
