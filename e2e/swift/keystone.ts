import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Agent, request } from 'undici';
import { freePort } from '../harness/free-port.mjs';
import { must } from '../harness/run.js';

const script = fileURLToPath(new URL('identity.py', import.meta.url));

/** A thing of Keystone as its API gives it. */
interface Thing {
  id: string;
  secret?: string;
}

/** A real Keystone that speaks TLS with a certificate of its own, in a folder of its own. */
export class Keystone {
  readonly #agent: Agent;
  #token = '';

  private constructor(
    private readonly process: ChildProcess,
    private readonly folder: string,
    /** Its address, with the version. */
    readonly url: string,
    /** Files: the certificate, which is its own authority, and the key. */
    readonly certificate: string,
    readonly key: string,
    pem: string,
  ) {
    this.#agent = new Agent({ connect: { ca: pem } });
  }

  static async start(): Promise<Keystone> {
    const folder = await mkdtemp(join(tmpdir(), 'wharfie-keystone-'));
    const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const names = ['-subj', '/CN=a cloud', '-addext', 'subjectAltName=IP:127.0.0.1'];
    await must('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', certificate]);
    const port = await freePort();
    const child = spawn('/usr/bin/python3', ['-W', 'ignore', script, folder, String(port), certificate, key], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const url = `https://127.0.0.1:${port}/v3`;
    const keystone = new Keystone(child, folder, url, certificate, key, await readFile(certificate, 'utf8'));
    await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
    if (child.exitCode !== null) throw new Error(`Keystone ended with ${child.exitCode}: ${errors}`);
    const administrator = { name: 'admin', password: 'admin', domain: { id: 'default' } };
    keystone.#token = await keystone.login(administrator, { name: 'admin', domain: { id: 'default' } });
    return keystone;
  }

  /** A token for a user in a project, both as the API names them. */
  async login(user: object, project: object): Promise<string> {
    const identity = { methods: ['password'], password: { user } };
    const { headers } = await this.#call('POST', 'auth/tokens', { auth: { identity, scope: { project } } });
    return String(headers['x-subject-token']);
  }

  /** Makes a thing: `make('users', 'user', {…})`. */
  async make(collection: string, kind: string, thing: object, token?: string): Promise<Thing> {
    const { body } = await this.#call('POST', collection, { [kind]: thing }, token);
    return (body as Record<string, Thing>)[kind] as Thing;
  }

  /** The id of a thing that has a name. */
  async find(collection: string, name: string): Promise<string> {
    const { body } = await this.#call('GET', `${collection}?name=${name}`);
    return (body as Record<string, Thing[]>)[collection]?.[0]?.id ?? '';
  }

  async grant(project: Thing, user: Thing, role: string): Promise<void> {
    const id = await this.find('roles', role);
    await this.#call('PUT', `projects/${project.id}/users/${user.id}/roles/${id}`);
  }

  /** Has the catalogue name Swift at these addresses, `{ RegionOne: { public: 'https://…' } }`. */
  async offer(regions: Record<string, Record<string, string>>): Promise<void> {
    const { id } = await this.make('services', 'service', { type: 'object-store', name: 'swift' });
    for (const [region, interfaces] of Object.entries(regions)) {
      await this.make('regions', 'region', { id: region });
      for (const [name, address] of Object.entries(interfaces)) {
        const url = `${address}/v1/AUTH_$(project_id)s`;
        await this.make('endpoints', 'endpoint', { service_id: id, region_id: region, interface: name, url });
      }
    }
  }

  /** A request with our trust in its certificate, of Swift's too. */
  async fetch(url: string, options: Omit<NonNullable<Parameters<typeof request>[1]>, 'dispatcher'> = {}) {
    const { statusCode, headers, body } = await request(url, { ...options, dispatcher: this.#agent });
    return { status: statusCode, headers, text: await body.text() };
  }

  async dispose(): Promise<void> {
    await this.#agent.close();
    if (this.process.exitCode === null) {
      this.process.kill();
      await once(this.process, 'exit');
    }
    await rm(this.folder, { recursive: true });
  }

  async #call(method: 'GET' | 'POST' | 'PUT', path: string, content?: object, token = this.#token) {
    const headers = { 'content-type': 'application/json', 'x-auth-token': token };
    const body = content === undefined ? null : JSON.stringify(content);
    const answer = await this.fetch(`${this.url}/${path}`, { method, headers, body });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return { headers: answer.headers, body: JSON.parse(answer.text === '' ? 'null' : answer.text) as unknown };
  }
}
