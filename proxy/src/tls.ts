import { reasonOf, SettingsError, type Logger } from '@wharfie/shared';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type Server, type TlsOptions } from 'node:tls';

/** How often the files are looked at, in milliseconds. */
const lookEvery = 5_000;

export interface TlsFiles {
  cert: string;
  key: string;
}

/** What both files hold, as PEM. */
export interface Certificate extends TlsOptions {
  cert: string;
  key: string;
}

/**
 * The certificate and its key, checked to belong together.
 * @throws SettingsError
 */
export async function loadTls(files: TlsFiles): Promise<Certificate> {
  const cert = await readPem('WHARFIE_TLS_CERT', files.cert);
  const key = await readPem('WHARFIE_TLS_KEY', files.key);
  const options: Certificate = { cert, key, minVersion: 'TLSv1.2' };
  try {
    createSecureContext(options);
  } catch (error) {
    const reason = `${files.cert} and ${files.key} cannot be used together: ${(error as Error).message}`;
    throw new SettingsError(
      'WHARFIE_TLS_CERT',
      `${reason}; both must be PEM, the key that of the first certificate and without a passphrase`,
    );
  }
  return options;
}

/** Takes renewed files for new connections. Half a renewal, or a wrong one, is reported, and the last good pair stays. */
export function followTls(
  server: Server,
  files: TlsFiles,
  first: Certificate,
  log: Logger,
  every = lookEvery,
): { close(): void } {
  warnOfDates(first, log);
  let seen = textOf(first);
  let reported: string | undefined;
  const look = async () => {
    const options = await loadTls(files);
    reported = undefined;
    if (textOf(options) === seen) return;
    seen = textOf(options);
    server.setSecureContext(options);
    log.info({ cert: files.cert }, 'the renewed TLS certificate is in use');
    warnOfDates(options, log);
  };
  const timer = setInterval(() => {
    look().catch((error: unknown) => {
      const { message } = error as Error;
      if (message !== reported) log.error(`${message}; the last good certificate stays in use`);
      reported = message;
    });
  }, every);
  timer.unref();
  return {
    close: () => {
      clearInterval(timer);
    },
  };
}

/** No reason not to start: once it is renewed, it is taken without another start. */
function warnOfDates({ cert }: Certificate, log: Logger): void {
  const { validFrom, validTo } = new X509Certificate(cert);
  const now = Date.now();
  if (Date.parse(validFrom) <= now && now < Date.parse(validTo)) return;
  log.warn(
    `WHARFIE_TLS_CERT: the certificate is valid from ${validFrom} to ${validTo}, so clients refuse it: renew it`,
  );
}

async function readPem(variable: string, path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new SettingsError(
      variable,
      `${path} cannot be read (${reasonOf(error)}): name a file that this user may read`,
    );
  });
  // Node would take one without a certificate or a key for a choice, and serve nobody.
  if (text === '') throw new SettingsError(variable, `${path} is empty: it must be PEM`);
  return text;
}

function textOf({ cert, key }: Certificate): string {
  return `${cert}\n${key}`;
}
