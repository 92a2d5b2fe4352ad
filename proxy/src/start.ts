import {
  AddressList,
  createLogger,
  deriveKey,
  formatListenAddress,
  isLoopback,
  listen,
  loadSecret,
  startAdminServer,
  type ListenAddress,
  type Logger,
  type Registry,
} from '@wharfie/shared';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { promisify } from 'node:util';
import { parsePolicy, type Policy } from './access/policy.js';
import { AuditLog } from './audit.js';
import { requestEvents } from './connections.js';
import { doorUrl } from './door-url.js';
import { createDoor } from './door.js';
import { WatchedFile } from './files/watched-file.js';
import {
  checkFirstAccount,
  dataFiles,
  ensureDataFolder,
  ensureFirstAccount,
  ensurePolicy,
  firstAccount,
  policyMade,
} from './first-start.js';
import { guessReporter } from './guess-report.js';
import { parseHtpasswd, type Htpasswd } from './htpasswd/file.js';
import { Guesses } from './htpasswd/guesses.js';
import { upgradeFile } from './htpasswd/upgrade.js';
import { Verifier } from './htpasswd/verifier.js';
import { createMetrics, observeConnections, observePasswords, type Metrics } from './metrics.js';
import { serve } from './server.js';
import type { ProxySettings } from './settings.js';
import { followTls, loadTls } from './tls.js';
import { Upstreams } from './upstreams.js';

export interface RunningProxy {
  /** The address that clients use. */
  url: string;
  /** The first account, when it is still there to log in with. */
  user: string | undefined;
  /** Lets requests under way end, as long as WHARFIE_DRAIN says, then frees everything. */
  stop(reason: string): Promise<void>;
  /** Goes on in a new audit log where the old one was renamed. */
  reopen(): void;
}

/** How long the registry has for the question whether it is there, in milliseconds. */
const probeTimeout = 2_000;

/**
 * Starts the proxy: what can fail for a reason outside the data folder comes before the first file is made.
 * @throws SettingsError in one line; then nothing is left listening
 */
export async function startProxy(settings: ProxySettings, register: Registry): Promise<RunningProxy> {
  const { listen: address, data, tls: tlsFiles, idleTimeout: idle, maxConnections } = settings;
  const log = createLogger('proxy', { level: settings.logLevel, format: settings.logFormat });
  report(settings, log);
  const tls = tlsFiles && (await loadTls(tlsFiles));
  await ensureDataFolder(data);
  const upstreams = new Upstreams(settings.registries);
  upstreams.watch(log);
  const open: Closable[] = [upstreams];
  try {
    const door = createDoor({ idle, headers: settings.headersTimeout, maxConnections, ...(tls && { tls }) });
    const { server, connections } = door;
    const begin = holdRequests(server);
    await listen(server, address, 'WHARFIE_LISTEN');
    const url = doorUrl(settings.publish ?? boundAddress(server, address), tls !== undefined);
    open.push({
      close: () => {
        server.close();
        server.closeAllConnections();
      },
    });
    const admin = await startAdminServer(
      settings.adminListen,
      'WHARFIE_ADMIN_LISTEN',
      () => unready(upstreams),
      () => register.metrics(),
    );
    open.push(admin);
    const audit = settings.auditLog === undefined ? undefined : new AuditLog(settings.auditLog, log);
    if (audit) open.push(audit);
    const metrics = createMetrics(register);
    const secret = await loadSecret(settings.secretFile, settings.sources);
    const files = dataFiles(data);
    const first = firstAccount(settings);
    await checkFirstAccount(files.htpasswd, first);
    if (await ensurePolicy(files, settings.adminUser)) {
      log.warn(policyMade(files, settings.adminUser));
    }
    const policy = await openPolicy(files.access, { log, metrics, audit });
    open.push(policy);
    const password = await ensureFirstAccount(files.htpasswd, first);
    // The one time that it is shown. Not through the log, which may be kept.
    if (password !== undefined) process.stdout.write(welcome(settings, url, password));
    const htpasswd = await openHtpasswd(files.htpasswd, { log, metrics, audit });
    open.push(htpasswd);
    const upgrade =
      settings.passwordCost === undefined ? undefined : upgradeFile(files.htpasswd, settings.passwordCost, log);
    const passwords = new Verifier(htpasswd, {
      guesses: new Guesses(guessReporter(htpasswd, log, metrics)),
      upgrade,
      nobodysKey: deriveKey(secret, 'names without an account'),
    });
    observePasswords(passwords, register);
    open.push({ close: () => passwords.destroy() });
    if (tlsFiles && tls && server instanceof TlsServer) open.push(followTls(server, tlsFiles, tls, log));
    observeConnections(upstreams, promisify(server.getConnections.bind(server)), register);
    const trusted = settings.trustedProxies ?? new AddressList();
    serve(door, {
      passwords,
      accounts: htpasswd,
      policy,
      secret,
      upstreams,
      log,
      metrics,
      audit,
      idle,
      trusted,
      publicUrl: settings.publicUrl,
    });
    begin();
    log.info({ url }, 'ready');
    return {
      url,
      user: htpasswd.current.users.get(settings.adminUser)?.bcrypt && settings.adminUser,
      reopen: () => audit?.reopen(),
      stop: async (reason) => {
        log.info({ reason }, `stopping; requests under way have ${settings.drain} s to end`);
        await connections.close(settings.drain);
        await closeAll(open);
        log.info('stopped');
      },
    };
  } catch (error) {
    await closeAll(open);
    throw error;
  }
}

/** In a container nobody else says what to type next. */
function welcome({ adminUser, publish, publicUrl }: ProxySettings, url: string, password: string): string {
  const account = `user: ${adminUser}\npassword: ${password}\n`;
  if (publish === undefined) return account;
  const door = new URL(publicUrl ?? url).host;
  return `${account}
This password is shown once. What to type next:

  docker login --username ${adminUser} ${door}
  docker tag IMAGE ${door}/IMAGE
  docker push ${door}/IMAGE

To choose another: docker compose exec proxy wharfie users passwd ${adminUser}
For a colleague:   docker compose exec proxy wharfie users add NAME

`;
}

function report({ sources, unknown, listen, publish, tls }: ProxySettings, log: Logger): void {
  for (const { setting, value, source } of sources) log.info(`${setting} = ${value} (${source})`);
  for (const { name, nearest } of unknown) {
    log.warn(`${name} is not a setting${nearest === undefined ? '' : `; did you mean ${nearest}?`}`);
  }
  const [variable, address] = publish ? ['WHARFIE_PUBLISH', publish] : ['WHARFIE_LISTEN', listen];
  if (!tls && !isLoopback(address)) {
    const door = formatListenAddress(address);
    log.warn(
      `${variable}: ${door} can be reached from other machines, and passwords travel there in the clear: set WHARFIE_TLS_CERT and WHARFIE_TLS_KEY, or put a TLS proxy in front`,
    );
  }
}

/** Where the door listens, with the port that it got where it was to take any. */
function boundAddress(server: Server, address: ListenAddress): ListenAddress {
  return address.path === undefined ? { ...address, port: (server.address() as AddressInfo).port } : address;
}

/** Requests that come before anybody can be let in wait; the returned function hands them on. */
function holdRequests(server: Server): () => void {
  const waiting: { event: string; arguments: unknown[] }[] = [];
  const holds = requestEvents.map((event) => {
    const hold = (...held: unknown[]) => {
      waiting.push({ event, arguments: held });
    };
    server.on(event, hold);
    return () => server.removeListener(event, hold);
  });
  return () => {
    for (const release of holds) release();
    for (const held of waiting) server.emit(held.event, ...held.arguments);
  };
}

/** Any answer counts: a registry that refuses us for want of a token is there. */
async function unready(upstreams: Upstreams): Promise<string | undefined> {
  try {
    const answer = await upstreams.get('/v2/', {}, AbortSignal.timeout(probeTimeout));
    answer.resume();
    return undefined;
  } catch (error) {
    return `the registry does not answer: ${(error as Error).message}`;
  }
}

interface Witnesses {
  log: Logger;
  metrics: Metrics;
  audit: AuditLog | undefined;
}

/** What is done when a file was changed to something wrong. */
function refusal({ log, metrics, audit }: Witnesses, file: 'access.yml' | 'htpasswd', event: 'policy' | 'accounts') {
  return ({ message }: Error) => {
    log.error(`${message}; what was last good stays in force`);
    metrics.reloaded(file, 'refused');
    audit?.rejected(event, message);
  };
}

function openPolicy(path: string, witnesses: Witnesses): Promise<WatchedFile<Policy>> {
  const { log, metrics, audit } = witnesses;
  return WatchedFile.open(path, {
    parse: parsePolicy,
    onLoaded: (policy) => {
      log.info({ path }, 'access.yml is in force');
      for (const warning of policy.warnings) log.warn(`${path}: ${warning}`);
      metrics.reloaded('access.yml', 'taken');
      audit?.policy(policy);
    },
    onError: refusal(witnesses, 'access.yml', 'policy'),
  });
}

function openHtpasswd(path: string, witnesses: Witnesses): Promise<WatchedFile<Htpasswd>> {
  const { log, metrics, audit } = witnesses;
  let before: Htpasswd | undefined;
  return WatchedFile.open(path, {
    parse: parseHtpasswd,
    onLoaded: (htpasswd) => {
      log.info({ path, users: htpasswd.users.size }, 'htpasswd is in force');
      for (const warning of htpasswd.warnings) log.warn(`${path}: ${warning}`);
      metrics.reloaded('htpasswd', 'taken');
      audit?.accounts(before, htpasswd);
      before = htpasswd;
    },
    onError: refusal(witnesses, 'htpasswd', 'accounts'),
  });
}

interface Closable {
  close(): unknown;
}

/** Closes all, the last first. */
async function closeAll(open: Closable[]): Promise<void> {
  for (const one of open.splice(0).reverse()) await one.close();
}
