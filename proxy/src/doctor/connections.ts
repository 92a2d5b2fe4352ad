import { clockTolerance, formatListenAddress, identitySigner, loadSecret, reasonOf } from '@wharfie/shared';
import { access } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import type { ProxySettings } from '../settings.js';
import { nameOf, type Upstream } from '../upstreams.js';
import type { Finding } from './finding.js';
import { requestOptions, send } from './send.js';

const patience = 5_000;

/** Asks each registry for its version, as anybody and as the proxy does. */
export async function* examineRegistries(settings: ProxySettings): AsyncGenerator<Finding> {
  const { registries, secretFile } = settings;
  let silent = 0;
  for (const registry of registries) {
    const about = `registry ${nameOf(registry)}`;
    try {
      const unsigned = await ask(registry, {});
      yield* examineClock(about, unsigned);
      if (unsigned.statusCode !== 401) {
        const text = `it answers ${String(unsigned.statusCode)} to a request that nobody signed`;
        const remedy = 'see to it that nobody but the proxy can reach it';
        yield { state: 'warn', about, text, remedy };
      } else yield await asTheProxy(registry, about, secretFile);
    } catch (error) {
      silent += 1;
      const text = `it does not answer: ${(error as Error).message}`;
      yield { state: 'warn', about, text, remedy: 'start it, or set WHARFIE_REGISTRY_URL to where it is' };
    }
  }
  if (silent < registries.length || !(await doorRuns(settings))) return;
  const text = 'the door runs, and all that it can answer is that no registry does';
  yield { state: 'bad', about: 'registry', text, remedy: 'mend what is said of each' };
}

function doorRuns(settings: ProxySettings): Promise<boolean> {
  return askDoor(settings).then(isOurs, () => false);
}

function isOurs({ statusCode, headers }: IncomingMessage): boolean {
  return statusCode === 401 && headers['docker-distribution-api-version'] !== undefined;
}

/** The door is tried where it listens; it is no fault when it does not run. */
export async function* examineDoor(settings: ProxySettings): AsyncGenerator<Finding> {
  const { listen, tls } = settings;
  const about = 'door';
  const place = formatListenAddress(listen);
  try {
    if (isOurs(await askDoor(settings)))
      yield { state: 'ok', about, text: `it asks strangers on ${place} for an account` };
    else {
      const text = `what answers on ${place} is not this proxy`;
      yield { state: 'bad', about, text, remedy: 'stop it, or set WHARFIE_LISTEN to another address' };
    }
  } catch (error) {
    const reason = reasonOf(error);
    if (/^(ECONNRESET|EPROTO|HPE_|ERR_SSL_)/.test(reason)) {
      const text = `something answers on ${place}, but does not speak ${tls ? 'TLS' : 'HTTP'} (${reason})`;
      const remedy = tls
        ? 'start the proxy with the WHARFIE_TLS_CERT and WHARFIE_TLS_KEY that are set here'
        : 'does it speak TLS? Then run this with its WHARFIE_TLS_CERT and WHARFIE_TLS_KEY';
      yield { state: 'warn', about, text, remedy };
      return;
    }
    yield { state: 'warn', about, text: `nothing answers on ${place} (${reason})`, remedy: 'npm start' };
  }
}

/** Whether the registry takes what this proxy signs. */
async function asTheProxy(registry: Upstream, about: string, secretFile: string): Promise<Finding> {
  let secret;
  try {
    // Not made here when it is missing.
    await access(secretFile);
    secret = await loadSecret(secretFile);
  } catch {
    const text = 'it answers, and cannot be asked for more without a secret to sign with';
    return { state: 'warn', about, text, remedy: 'see what is said of the secret' };
  }
  const token = identitySigner(secret)({ subject: '', access: [] });
  const { statusCode } = await ask(registry, { authorization: `Bearer ${token}` });
  if (statusCode === 200) return { state: 'ok', about, text: 'it takes what this proxy signs, and nothing else' };
  const remedy = 'give both the same WHARFIE_SECRET_FILE, and set both clocks right';
  return { state: 'bad', about, text: `it refuses what this proxy signs (${String(statusCode)})`, remedy };
}

function* examineClock(about: string, { headers }: IncomingMessage): Generator<Finding> {
  const theirs = Date.parse(headers.date ?? '');
  if (Number.isNaN(theirs)) return;
  // The header has whole seconds.
  const seconds = Math.round(Math.abs(Date.now() - theirs) / 1000);
  if (seconds <= 2) yield { state: 'ok', about: 'clock', text: `it agrees with that of ${about}` };
  else {
    const state = seconds * 1000 > clockTolerance ? 'bad' : 'warn';
    yield {
      state,
      about: 'clock',
      text: `it differs by ${seconds} s from that of ${about}`,
      remedy: 'run NTP on both',
    };
  }
}

function askDoor({ listen, tls }: ProxySettings): Promise<IncomingMessage> {
  return version({ ...requestOptions(listen), protocol: tls ? 'https:' : 'http:', rejectUnauthorized: false });
}

function ask(registry: Upstream, headers: Record<string, string>): Promise<IncomingMessage> {
  return version({ ...registry, headers });
}

async function version(options: RequestOptions): Promise<IncomingMessage> {
  return (await send({ ...options, path: '/v2/' }, patience)).resume();
}
