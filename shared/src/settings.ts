import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { AddressList } from './address-list.js';
import { formatListenAddress, parseListenAddress } from './listen-address.js';
import { leastCost, mostCost } from './password-cost.js';
import { reasonOf } from './reason-of.js';
import { SettingsError } from './settings-error.js';
import { httpAddress, swiftTable } from './swift-settings.js';

/**
 * One setting: the variables that give it (the first wins), its default, and what it is for. What is secret may also come in
 * a file, which the variable with `_FILE` appended to its name gives.
 */
export interface Setting<T> {
  variables: readonly [string, ...string[]];
  /** Variables of OpenStack that give the same in another way: beside one of them those of distribution do not count. */
  otherwise?: readonly string[];
  schema: z.ZodType<T, string | undefined>;
  /** Used when no variable is set. A function when it follows from other settings or from the machine. */
  fallback?: string | (() => string);
  secret?: true;
  /** What it is for. The values that it takes are in the schema's own description. */
  description: string;
}

/** Where a value came from, for the log: a variable's name or `default`. */
export interface SettingSource {
  setting: string;
  value: string;
  source: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;
type Values<S extends Record<string, Setting<unknown>>> = { [K in keyof S]: z.output<S[K]['schema']> };

/** Text that `parse` understands; `expected` is what a refusal asks for. */
const parsed = <T>(parse: (text: string) => T | undefined, expected: string) =>
  z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.issues.push({ code: 'custom', message: `must be ${expected}, not "${text}"`, input: text });
    return z.NEVER;
  });
const listenAddress = parsed(parseListenAddress, 'HOST:PORT or unix:PATH').describe('`HOST:PORT` or `unix:PATH`');
const addressList = z
  .string()
  .transform((text, context): AddressList => {
    try {
      return AddressList.parse(text);
    } catch (error) {
      context.issues.push({ code: 'custom', message: (error as Error).message, input: text });
      return z.NEVER;
    }
  })
  .optional()
  .describe('like `192.0.2.7, 10.0.0.0/8`; `unix` for a Unix socket');
/** As compose files write it: where there is no host, every one. Clients are told to use it. */
const publishedAddress = parsed((text) => {
  const address = parseListenAddress(/^\d+$/.test(text) ? `:${text}` : text);
  if (!address || address.path !== undefined) return undefined;
  return URL.canParse(`http://${formatListenAddress(address)}`) ? address : undefined;
}, 'PORT or HOST:PORT')
  .optional()
  .describe('`PORT` or `HOST:PORT`');
const path = z.string().transform((text) => resolve(text));
const optionalPath = path.optional();
const oneOf = <const T extends readonly [string, ...string[]]>(...words: T) =>
  z
    .enum(words, { error: (issue) => `must be ${words.join(' or ')}, not "${String(issue.input)}"` })
    .describe(words.map((word) => `\`${word}\``).join(', '));
const range = (least: number, most: number) => `${least} to ${most}`;
const wholeNumber = (least: number, most: number) =>
  parsed(
    (text) => {
      const number = Number(text);
      return /^\d+$/.test(text) && number >= least && number <= most ? number : undefined;
    },
    `a whole number from ${range(least, most)}`,
  ).describe(range(least, most));

const units = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
/** A length of time as distribution writes it, in milliseconds. */
const duration = parsed((text) => {
  const [, number, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * units[unit as keyof typeof units] * 1000;
}, 'a time like 168h, 7d, 30m or 10s').describe('`10s`, `30m`, `168h`, `7d` and so on');

/** For a timer: Node's take at most 2^31 - 1 ms, and fire at once when given more. */
const timerDuration = duration
  .refine((milliseconds) => milliseconds <= 24 * units.d * 1000, 'must be at most 24d')
  .describe('`10s`, `30m`, `2h` and so on, at most `24d`');

const dataFolder = (environment: Environment): string => environment['WHARFIE_DATA'] || './data';

/** Every setting of both services. Each service picks its own, so that both agree on names, defaults and meaning. */
export function settingsTable(environment: Environment) {
  const data = dataFolder(environment);
  return {
    data: {
      variables: ['WHARFIE_DATA'],
      schema: path,
      fallback: './data',
      description: 'the folder of htpasswd, access.yml, secret and the images',
    },
    listen: {
      variables: ['WHARFIE_LISTEN'],
      schema: listenAddress,
      fallback: '127.0.0.1:5000',
      description: 'the proxy, the only door',
    },
    publish: {
      variables: ['WHARFIE_PUBLISH'],
      schema: publishedAddress,
      description: 'with `docker compose`: where the door is published, by default `127.0.0.1:5000`',
    },
    adminListen: {
      variables: ['WHARFIE_ADMIN_LISTEN'],
      schema: listenAddress,
      fallback: '127.0.0.1:5002',
      description: '/healthz, /readyz and /metrics of the proxy',
    },
    registryListen: {
      variables: ['WHARFIE_REGISTRY_LISTEN'],
      schema: listenAddress,
      fallback: '127.0.0.1:5001',
      description: 'the registry; it answers only requests that the proxy signed',
    },
    registryAdminListen: {
      variables: ['WHARFIE_REGISTRY_ADMIN_LISTEN'],
      schema: listenAddress,
      fallback: '127.0.0.1:5003',
      description: '/healthz, /readyz and /metrics of the registry',
    },
    registryUrl: {
      variables: ['WHARFIE_REGISTRY_URL'],
      schema: z.string().optional().describe('`http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`'),
      description:
        'where the proxy finds the registry, or several, separated by commas; follows from WHARFIE_REGISTRY_LISTEN when unset',
    },
    adminUser: {
      variables: ['WHARFIE_ADMIN_USER'],
      schema: z
        .string()
        .regex(/^[^:\s]+$/, 'must be a name without colon or space')
        .regex(/^[^#$@]/, 'must not begin with #, $ or @'),
      fallback: 'admin',
      description: 'the first account, made when there is no htpasswd',
    },
    adminPassword: {
      variables: ['WHARFIE_ADMIN_PASSWORD'],
      schema: z.string().min(1, 'must not be empty').optional(),
      secret: true,
      description: 'its password; a random one is printed once when unset',
    },
    passwordCost: {
      variables: ['WHARFIE_PASSWORD_COST'],
      schema: z
        .string()
        .optional()
        .pipe(wholeNumber(leastCost, mostCost).optional())
        .describe(range(leastCost, mostCost)),
      description:
        'when an account logs in whose hash has a lower cost, or is not `$2y$`, the hash in htpasswd is replaced by one of this cost',
    },
    secretFile: {
      variables: ['WHARFIE_SECRET_FILE'],
      schema: path,
      fallback: `${data}/secret`,
      description: 'the key that signs identities and upload locations',
    },
    storage: {
      variables: ['WHARFIE_STORAGE', 'SETTINGS_FLAVOR', 'REGISTRY_STORAGE'],
      schema: oneOf('filesystem', 'swift', 'memory'),
      fallback: 'filesystem',
      description: 'where images are kept',
    },
    storageRoot: {
      variables: ['WHARFIE_STORAGE_ROOT', 'REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY'],
      schema: path,
      fallback: `${data}/registry`,
      description: 'the root of the filesystem storage',
    },
    ...swiftTable,
    workers: {
      variables: ['WHARFIE_WORKERS', 'GUNICORN_WORKERS'],
      schema: wholeNumber(1, 64),
      fallback: () => String(Math.min(availableParallelism(), 4)),
      description: 'registry processes; as many as there are cores, at most 4, when unset',
    },
    drain: {
      variables: ['WHARFIE_DRAIN'],
      schema: wholeNumber(0, 86_400),
      fallback: '30',
      description: 'seconds that requests under way get to end when the service is told to stop',
    },
    idleTimeout: {
      variables: ['WHARFIE_IDLE_TIMEOUT'],
      schema: timerDuration,
      fallback: '5m',
      description:
        'how long nothing may move on a connection with a request under way; an upload as such may take any time',
    },
    headersTimeout: {
      variables: ['WHARFIE_HEADERS_TIMEOUT'],
      schema: timerDuration,
      fallback: '60s',
      description: 'how long the head of a request may take to arrive',
    },
    maxConnections: {
      variables: ['WHARFIE_MAX_CONNECTIONS'],
      schema: wholeNumber(1, 1_000_000),
      fallback: '10000',
      description: 'clients connected at the same time; any further one is turned away',
    },
    uploadLifetime: {
      variables: ['WHARFIE_UPLOAD_LIFETIME'],
      schema: duration,
      fallback: '7d',
      description: 'how long an upload that nobody continues is kept',
    },
    logLevel: {
      variables: ['WHARFIE_LOG_LEVEL'],
      schema: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
      fallback: 'info',
      description: 'how much is logged',
    },
    logFormat: {
      variables: ['WHARFIE_LOG_FORMAT'],
      schema: oneOf('pretty', 'json'),
      fallback: () => (process.stdout.isTTY ? 'pretty' : 'json'),
      description: 'how it is logged; `pretty` on a terminal and else `json` when unset',
    },
    auditLog: {
      variables: ['WHARFIE_AUDIT_LOG'],
      schema: optionalPath,
      description:
        'file for what was pushed, deleted and refused, and for changes of accounts and policy; none when unset',
    },
    publicUrl: {
      variables: ['WHARFIE_PUBLIC_URL'],
      schema: httpAddress
        .regex(/^[^?#]*$/, 'must not have a query or a fragment')
        // As headers can hold it: other letters and quotes are encoded, `.` and `..` are gone.
        .transform((text) => new URL(text).href)
        .pipe(
          z.string().regex(/^\w+:\/\/[^/]+(?!\/v2(\/|$))\//, 'must end before /v2/, which clients add by themselves'),
        )
        .optional()
        .describe('an http or https address'),
      description:
        'the address that clients use, when another proxy stands in front; its path, if any, stands before `/v2/`',
    },
    trustedProxies: {
      variables: ['WHARFIE_TRUSTED_PROXIES'],
      schema: addressList,
      description:
        'addresses and networks whose `X-Forwarded-For`, `-Proto` and `-Host` are believed, separated by commas',
    },
    tlsCert: {
      variables: ['WHARFIE_TLS_CERT'],
      schema: optionalPath,
      description: 'PEM file of the certificate chain',
    },
    tlsKey: { variables: ['WHARFIE_TLS_KEY'], schema: optionalPath, description: 'PEM file of its key' },
  } satisfies Record<string, Setting<unknown>>;
}

/** Every variable that can give the setting. */
export function variablesOf({ variables, secret }: Setting<unknown>): string[] {
  return secret ? variables.flatMap((name) => [name, `${name}_FILE`]) : [...variables];
}

/**
 * The values of `table` in `environment`, and where each came from. An empty variable counts as unset, as compose files
 * write it.
 * @throws SettingsError for the first value that is wrong
 */
export function readSettings<S extends Record<string, Setting<unknown>>>(
  table: S,
  environment: Environment,
): { settings: Values<S>; sources: SettingSource[] } {
  const settings: Record<string, unknown> = {};
  const sources: SettingSource[] = [];
  const isSet = (variable: string): boolean => (environment[variable] ?? '') !== '';
  for (const [name, setting] of Object.entries(table)) {
    const { variables, otherwise, schema, secret } = setting;
    const isLeftOver = (alias: string): boolean => otherwise?.some(isSet) === true && alias.startsWith('REGISTRY_');
    const variable = variablesOf(setting).find((candidate) => isSet(candidate) && !isLeftOver(candidate));
    const raw = variable === undefined ? defaultOf(setting) : valueOf(variable, setting, environment);
    const result = schema.safeParse(raw);
    if (!result.success)
      throw new SettingsError(variable ?? variables[0], result.error.issues[0]?.message ?? 'is not valid');
    settings[name] = result.data;
    if (raw !== undefined)
      sources.push({ setting: variables[0], value: secret ? '***' : raw, source: variable ?? 'default' });
  }
  return { settings: settings as Values<S>, sources };
}

function defaultOf({ fallback }: Setting<unknown>): string | undefined {
  return typeof fallback === 'function' ? fallback() : fallback;
}

/** @throws SettingsError when the variable names a file that cannot be read, or holds nothing */
function valueOf(variable: string, { variables }: Setting<unknown>, environment: Environment): string | undefined {
  const value = environment[variable];
  if (variables.includes(variable) || value === undefined) return value;
  const content = contentOf(variable, value);
  if (content === '') throw new SettingsError(variable, `${value} is empty`);
  return content;
}

function contentOf(variable: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/^\uFEFF|\r?\n$/g, '');
  } catch (error) {
    throw new SettingsError(
      variable,
      `${file} cannot be read (${reasonOf(error)}): name a file that this user may read`,
    );
  }
}
