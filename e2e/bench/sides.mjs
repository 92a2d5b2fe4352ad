// Wharfie, and what people run today.
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../harness/free-port.mjs';
import { startWharfie } from '../harness/start-wharfie.mjs';
import { descendants } from '../harness/processes.mjs';

/** @typedef {import('./bench.mjs').Side} Side */
/** @typedef {import('./bench.mjs').Started} Started */

/** Both services, as `npm start` starts them. @param {Record<string, string>} [settings] @returns {Side} */
export function wharfie(settings = {}) {
  return {
    name: 'Wharfie',
    start: async (folder) => {
      const { address, password, processes, stop } = await startWharfie({
        WHARFIE_DATA: join(folder, 'data'),
        ...settings,
      });
      return { target: { ...hostAndPort(address), authorization: basic('admin', password) }, processes, stop };
    },
  };
}

/**
 * Debian's docker-registry, that is distribution 2.8.2, set up as Debian does but for the password: nobody is asked.
 * @param {string} [storage] what its configuration has below `storage`
 * @returns {Side}
 */
export function dockerRegistry(storage) {
  return { name: 'docker-registry', start: (folder) => startDockerRegistry(folder, storage) };
}

/** The same behind nginx, as distribution's documentation sets it up, which asks for the password. @returns {Side} */
export function behindNginx() {
  return {
    name: 'nginx + docker-registry',
    start: async (folder) => {
      const registry = await startDockerRegistry(folder);
      const port = await freePort();
      await writeFile(join(folder, 'htpasswd'), `admin:${hash}\n`);
      await writeFile(join(folder, 'nginx.conf'), nginxConfiguration(folder, port, registry.target.port));
      const nginx = launch('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], 'inherit');
      await answers(port);
      return {
        target: { host: '127.0.0.1', port, authorization: basic('admin', 'password') },
        processes: () => [...registry.processes(), nginx.pid, ...descendants(nginx.pid)],
        stop: async () => {
          await nginx.stop();
          await registry.stop();
        },
      };
    },
  };
}

/** Of `password`, as `htpasswd -B -C 10` makes it. */
const hash = '$2y$10$qNABY3DcO22AwTO/qEPseOFlWQdmtEovDzr.wCFfVbeev8ChkEuN6';

/** @param {string} folder @param {number} port @param {number} registry */
function nginxConfiguration(folder, port, registry) {
  return `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
worker_processes auto;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 768; }
http {
  sendfile on;
  tcp_nopush on;
  access_log ${folder}/access.log;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port};
    client_max_body_size 0;
    chunked_transfer_encoding on;
    location /v2/ {
      auth_basic "Registry realm";
      auth_basic_user_file ${folder}/htpasswd;
      add_header Docker-Distribution-Api-Version registry/2.0 always;
      proxy_pass http://127.0.0.1:${registry};
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_read_timeout 900;
    }
  }
}
`;
}

/** @param {string} folder @param {string} [storage] @returns {Promise<Started>} */
async function startDockerRegistry(folder, storage = `filesystem: { rootdirectory: ${join(folder, 'registry')} }`) {
  const port = await freePort();
  const configuration = join(folder, 'registry.yml');
  await writeFile(
    configuration,
    `version: 0.1
log: { fields: { service: registry } }
storage:
  cache: { blobdescriptor: inmemory }
  delete: { enabled: true }
  ${storage}
http: { addr: "127.0.0.1:${port}", headers: { X-Content-Type-Options: [nosniff] } }
health: { storagedriver: { enabled: true, interval: 10s, threshold: 3 } }
`,
  );
  const log = openSync(join(folder, 'registry.log'), 'w');
  const { pid, stop } = launch('docker-registry', ['serve', configuration], ['ignore', log, log]);
  await answers(port);
  return { target: { host: '127.0.0.1', port }, processes: () => [pid], stop };
}

/** @param {string} file @param {string[]} args @param {import('node:child_process').StdioOptions} stdio */
function launch(file, args, stdio) {
  const child = spawn(file, args, { stdio });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  return {
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill();
      await ended;
    },
  };
}

/** Waits until somebody serves there. @param {number} port */
async function answers(port) {
  for (let attempt = 0; attempt < 2000; attempt += 1) {
    if (await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined)) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`nothing answers on port ${port}`);
}

/** @param {string} address */
function hostAndPort(address) {
  const { hostname, port } = new URL(`http://${address}`);
  return { host: hostname, port: Number(port) };
}

/** @param {string} user @param {string} password */
export function basic(user, password) {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
