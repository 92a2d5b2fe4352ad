import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { leastCost, mostCost } from './password-cost.js';
import type { Environment, Setting } from './setting.js';
import {
  addressList,
  duration,
  httpAddress,
  listenAddress,
  oneOf,
  optionalPath,
  path,
  publishedAddress,
  range,
  timerDuration,
  wholeNumber,
} from './setting.js';
import { swiftTable } from './swift-settings.js';

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
      description:
        'how long an upload that nobody continues is kept; longer than the slowest client takes for a megabyte',
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
