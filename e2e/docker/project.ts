import { randomBytes } from 'node:crypto';
import { execCompose } from 'docker-compose';
import { freePort } from '../harness/free-port.mjs';
import type { Call } from '../harness/images.js';
import { must, type Result } from '../harness/run.js';
import { cleanEnvironment } from '../harness/wharfie.js';
import type { Engine } from './engine.js';

interface Options {
  /** The checkout whose docker-compose.yml it is. */
  root: string;
  /** What is added to docker-compose.yml, by its name in deploy/compose. */
  overrides?: readonly string[];
  profile?: string;
  env?: Record<string, string>;
}

/** One `docker compose` project, on a port of its own. */
export class Project {
  readonly name = `wharfie-${randomBytes(4).toString('hex')}`;

  private constructor(
    private readonly engine: Engine,
    private readonly options: Options,
    /** Where its door is published. */
    readonly address: string,
  ) {}

  static async create(engine: Engine, options: Options): Promise<Project> {
    return new Project(engine, options, `127.0.0.1:${await freePort()}`);
  }

  /** What makes `docker compose` in the checkout work on this project. */
  get environment(): NodeJS.ProcessEnv {
    const own = { COMPOSE_PROJECT_NAME: this.name, WHARFIE_PUBLISH: this.address };
    return { ...cleanEnvironment(), ...this.engine.env, ...own, ...this.options.env };
  }

  /** Runs `docker compose COMMAND …`. @throws Error with what it said when it fails */
  async compose(command: string, args: readonly string[] = [], env: Record<string, string> = {}): Promise<string> {
    const { root, overrides = [], profile } = this.options;
    try {
      const { out } = await execCompose(command, [...args], {
        cwd: root,
        config: ['docker-compose.yml', ...overrides.map((name) => `deploy/compose/${name}.yml`)],
        ...(profile && { composeOptions: [['--profile', profile]] }),
        env: { ...this.environment, ...env },
      });
      return out;
    } catch (error) {
      const { out, err } = error as { out: string; err: string };
      throw new Error(`docker compose ${command} ${args.join(' ')}:\n${out}${err}`, { cause: error });
    }
  }

  /** Up and healthy, or an error with the logs. */
  async up(args: readonly string[] = [], env: Record<string, string> = {}): Promise<void> {
    await this.compose('up', ['--detach', '--wait', ...args], env).catch(async (error: unknown) => {
      throw new Error(`${(error as Error).message}\n${await this.compose('logs', ['--no-color'])}`, { cause: error });
    });
  }

  /** Runs `docker compose exec proxy wharfie …` without a terminal. */
  wharfie(args: readonly string[], input = ''): Promise<Result> {
    return this.engine.docker(['exec', '--interactive', `${this.name}-proxy-1`, 'wharfie', ...args], input);
  }

  /** What a service has logged since its container was made. */
  async logs(service: string): Promise<string> {
    const { stdout, stderr } = await this.engine.docker(['logs', `${this.name}-${service}-1`]);
    return stdout + stderr;
  }

  /** The password that the first start printed. */
  async password(): Promise<string> {
    const logs = await this.logs('proxy');
    const password = /^password: (.+)$/m.exec(logs)?.[1];
    if (password === undefined) throw new Error(`no password was printed:\n${logs}`);
    return password;
  }

  /** A client of the door. */
  call(password: string, user = 'admin'): Call {
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    return (method, path, init = {}) =>
      fetch(`http://${this.address}${path}`, {
        method,
        redirect: 'manual',
        ...init,
        headers: { authorization, ...(init.headers as Record<string, string> | undefined) },
      });
  }

  /** A value of `docker inspect`, by its template. */
  async inspect(service: string, format: string): Promise<string> {
    return (await this.engine.must(['inspect', '--format', format, `${this.name}-${service}-1`])).trim();
  }

  /** The folder of a volume on this machine. */
  async volume(name: string): Promise<string> {
    return (
      await this.engine.must(['volume', 'inspect', '--format', '{{.Mountpoint}}', `${this.name}_${name}`])
    ).trim();
  }

  /** Ends a container's first process as a crash does: Docker itself would take it for a wish and not start it again. */
  async crash(service: string): Promise<void> {
    process.kill(Number(await this.inspect(service, '{{.State.Pid}}')), 'SIGKILL');
  }

  /** Ends everything, and with `volumes` removes what was kept. */
  async down({ volumes }: { volumes: boolean }): Promise<void> {
    await this.compose('down', volumes ? ['--volumes'] : []);
  }

  /** The same with everything that was kept, for the end of a test. */
  async dispose(): Promise<void> {
    await this.down({ volumes: true });
  }
}

/** A checkout of what is committed here, as a new user has it. */
export async function freshClone(from: string, to: string): Promise<string> {
  await must('git', ['clone', '--quiet', from, to]);
  return to;
}
