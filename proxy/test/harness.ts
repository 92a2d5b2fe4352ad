import { AddressList, createLogger, identityVerifier, Registry, type Identity } from '@wharfie/shared';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { parsePolicy, type Policy } from '../src/access/policy.js';
import type { AuditLog } from '../src/audit.js';
import type { Connections } from '../src/connections.js';
import { createDoor } from '../src/door.js';
import { parseHtpasswd, type Htpasswd } from '../src/htpasswd/file.js';
import { guessReporter } from '../src/guess-report.js';
import { Guesses } from '../src/htpasswd/guesses.js';
import { hashPassword } from '../src/htpasswd/password.js';
import { Verifier } from '../src/htpasswd/verifier.js';
import { createMetrics } from '../src/metrics.js';
import { serve } from '../src/server.js';
import { Upstreams, type Upstream } from '../src/upstreams.js';

export const secret = Buffer.from('a secret of the tests, 32 bytes and more');

/** Everybody's password is the name with this after it. */
export const passwordOf = (name: string) => `${name}'s password: ü`;

export const policyText = `
admins: [admin]
groups:
  builders: [bob]
rules:
  - repositories: "team/**"
    pull: [$authenticated]
    push: ["@builders"]
  - repositories: "team/app"
    delete: [eve]
  - repositories: "\${user}/**"
    push: ["\${user}"]
`;

export const openPolicyText = `${policyText}
  - repositories: "public/**"
    pull: [$anonymous]
`;

const users = ['admin', 'bob', 'eve'];
const hashes = Promise.all(users.map(async (name) => `${name}:${await hashPassword(passwordOf(name), 4)}\n`));

/** What the registry behind the door was asked. */
export interface Asked {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingMessage['headers'];
  rawHeaders: string[];
  identity: Identity | undefined;
}

export interface TestDoor {
  port: number;
  url: string;
  connections: Connections;
  server: Server;
  upstreams: Upstreams;
  registry: Server;
  asked: Asked[];
  /** The lines of the log so far. */
  log: Record<string, unknown>[];
  metrics: Registry;
  /** What is in force; a test may change it. */
  accounts: { current: Htpasswd };
  policy: { current: Policy };
}

interface DoorSettings {
  policy?: string;
  registry?: RequestListener;
  idle?: number;
  headers?: number;
  upstreams?: readonly Upstream[];
  trusted?: string;
  audit?: AuditLog;
  publicUrl?: string;
  maxConnections?: number;
  /** Milliseconds between two checks of the registries; none when not given. */
  checkEvery?: number;
}

/** A door with a registry behind it that answers as it is told; both end with the test. */
export async function openDoor(settings: DoorSettings = {}): Promise<TestDoor> {
  const { policy = policyText, registry: answer = answerOk, idle = 10_000, headers = 10_000 } = settings;
  const verify = identityVerifier(secret);
  const asked: Asked[] = [];
  const registry = createServer((incoming, response) => {
    const token = incoming.headers.authorization?.replace(/^Bearer /, '');
    const { method, url, headers: received, rawHeaders } = incoming;
    asked.push({ method, url, headers: received, rawHeaders, identity: token ? verify(token) : undefined });
    answer(incoming, response);
  });
  registry.keepAliveTimeout = 75_000;
  const upstream = await listenOn(registry);
  const accounts = { current: parseHtpasswd((await hashes).join('')) };
  const inForce = { current: parsePolicy(policy) };
  const upstreams = new Upstreams(settings.upstreams ?? [upstreamAt(upstream)]);
  const log: Record<string, unknown>[] = [];
  const metrics = new Registry();
  const counted = createMetrics(metrics);
  const logger = recordingLogger(log);
  if (settings.checkEvery !== undefined) upstreams.watch(logger, settings.checkEvery);
  const passwords = new Verifier(accounts, { guesses: new Guesses(guessReporter(accounts, logger, counted)) });
  const door = createDoor({ idle, headers, maxConnections: settings.maxConnections ?? 1000 });
  const { server, connections } = door;
  serve(door, {
    passwords,
    accounts,
    policy: inForce,
    secret,
    upstreams,
    log: logger,
    metrics: counted,
    audit: settings.audit,
    idle,
    trusted: settings.trusted === undefined ? new AddressList() : AddressList.parse(settings.trusted),
    publicUrl: settings.publicUrl,
  });
  const port = await listenOn(server);
  onTestFinished(async () => {
    await connections.close(0);
    upstreams.close();
    registry.closeAllConnections();
    registry.close();
    await passwords.destroy();
  });
  const url = `http://127.0.0.1:${port}`;
  return { port, url, connections, server, upstreams, registry, asked, log, metrics, accounts, policy: inForce };
}

export function upstreamAt(port: number): Upstream {
  return { protocol: 'http:', host: '127.0.0.1', port };
}

/** The port of a server that listens from now on. */
export async function listenOn(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A port on which nobody listens any more. */
export async function deadPort(): Promise<number> {
  const server = createServer();
  const port = await listenOn(server);
  server.close();
  await once(server, 'close');
  return port;
}

export function basic(name: string, password = passwordOf(name)): { Authorization: string } {
  return { Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` };
}

/** A promise that somebody else keeps. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((keep) => {
    resolve = keep;
  });
  return { promise, resolve };
}

export interface Answer {
  status: number | undefined;
  headers: IncomingMessage['headers'];
  body: string;
  error: { code: string; message: string; detail: Record<string, unknown> } | undefined;
}

/** Asks the door. The target is sent as it stands. */
export async function ask(
  { port }: { port: number },
  method: string,
  path: string,
  headers: Record<string, string | string[]> = {},
  body?: string,
): Promise<Answer> {
  const sent = request({ host: '127.0.0.1', port, method, path, headers, agent: false });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const answer = await text(response);
  const isJson = response.headers['content-type'] === 'application/json' && answer !== '';
  const errors = isJson ? (JSON.parse(answer) as { errors?: Answer['error'][] }).errors : undefined;
  return { status: response.statusCode, headers: response.headers, body: answer, error: errors?.[0] };
}

/** Writes bytes to the door; resolves to everything that it says until it closes the connection. */
export async function speak({ port }: { port: number }, bytes: string): Promise<string> {
  const socket = dial({ port });
  socket.write(bytes, 'latin1');
  return heard(socket);
}

export function dial({ port }: { port: number }): Socket {
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => {
    socket.destroy();
  });
  return socket;
}

/** Everything that the other side says until the connection ends, however it ends. */
export async function heard(socket: Socket): Promise<string> {
  let said = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (said += chunk));
  socket.on('error', () => undefined).resume();
  await new Promise((resolve) => socket.once('close', resolve));
  return said;
}

/** When the door's next connection is over. No listener for errors: what nobody else listens for fails the test. */
export function nextConnectionOver({ server }: TestDoor): Promise<unknown> {
  return new Promise((resolve) => {
    server.once('connection', (socket: Socket) => socket.once('close', resolve));
  });
}

/** A registry's answer for which nobody asked. */
export const switchProtocols: RequestListener = ({ socket }) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
};

/** What the other side says until `pattern` is in it. */
export async function hears(socket: Socket, pattern: RegExp): Promise<string> {
  let said = '';
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    said += chunk.toString('latin1');
    if (pattern.test(said)) return said;
  }
}

function answerOk(_incoming: IncomingMessage, response: Parameters<RequestListener>[1]): void {
  response.setHeader('Content-Type', 'application/json');
  response.end('{}');
}

function recordingLogger(lines: Record<string, unknown>[]) {
  const write = (line: string) => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
  };
  return createLogger('proxy', { level: 'trace', format: 'json' }, { write });
}
