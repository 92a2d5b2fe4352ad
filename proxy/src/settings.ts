import {
  readSettings,
  SettingsError,
  settingsTable,
  unknownVariables,
  variablesOf,
  type Environment,
} from '@wharfie/shared';
import { parseUpstreams } from './upstreams.js';

/** Read by docker-compose.yml and the files beside it. */
const elsewhere = ['WHARFIE_TAG', 'WHARFIE_MEMORY', 'WHARFIE_STORAGE_FOLDER', 'WHARFIE_TLS_FOLDER', 'WHARFIE_SECRETS'];

/**
 * What the proxy is told by its environment.
 * @throws SettingsError for the first value that is wrong
 */
export function proxySettings(environment: Environment = process.env) {
  const table = settingsTable(environment);
  const { settings, sources } = readSettings(
    {
      data: table.data,
      listen: table.listen,
      publish: table.publish,
      adminListen: table.adminListen,
      registryListen: table.registryListen,
      registryUrl: table.registryUrl,
      adminUser: table.adminUser,
      adminPassword: table.adminPassword,
      passwordCost: table.passwordCost,
      secretFile: table.secretFile,
      drain: table.drain,
      logLevel: table.logLevel,
      logFormat: table.logFormat,
      auditLog: table.auditLog,
      idleTimeout: table.idleTimeout,
      headersTimeout: table.headersTimeout,
      maxConnections: table.maxConnections,
      trustedProxies: table.trustedProxies,
      tlsCert: table.tlsCert,
      tlsKey: table.tlsKey,
      publicUrl: table.publicUrl,
    },
    environment,
  );
  const { tlsCert, tlsKey, registryUrl, registryListen } = settings;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    const [missing, other] =
      tlsCert === undefined ? ['WHARFIE_TLS_CERT', 'WHARFIE_TLS_KEY'] : ['WHARFIE_TLS_KEY', 'WHARFIE_TLS_CERT'];
    throw new SettingsError(missing, `must be set too, because ${other} is: set both or neither`);
  }
  const known = [...Object.values(table).flatMap(variablesOf), ...elsewhere];
  const registries = parseUpstreams(registryUrl, registryListen);
  const tls = tlsCert !== undefined && tlsKey !== undefined ? { cert: tlsCert, key: tlsKey } : undefined;
  const unknown = unknownVariables(environment, known);
  return { ...settings, registries, tls, sources, unknown };
}

/** What of it the commands need that read and change files. @throws SettingsError */
export function commandSettings() {
  const { data, adminUser } = settingsTable(process.env);
  return readSettings({ data, adminUser }, process.env).settings;
}

/** What both services are told, Swift's variables aside. @throws SettingsError */
export function allSettings() {
  return readSettings(settingsTable(process.env), process.env);
}

export type ProxySettings = ReturnType<typeof proxySettings>;
