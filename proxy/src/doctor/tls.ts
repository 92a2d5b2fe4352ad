import { formatListenAddress, isLoopback } from '@wharfie/shared';
import { X509Certificate } from 'node:crypto';
import type { ProxySettings } from '../settings.js';
import { loadTls } from '../tls.js';
import { counted, type Finding } from './finding.js';
import { examinePermissions } from './permissions.js';

const day = 86_400_000;
/** What certbot renews at the latest, and then some days. */
const soon = 21;

/** Looks at the certificate, or at whether there should be one. */
export async function* examineTls({ tls, listen, publish, publicUrl }: ProxySettings): AsyncGenerator<Finding> {
  const about = 'TLS';
  if (!tls) {
    const door = publish ?? listen;
    const fronted = publicUrl?.startsWith('https:') === true;
    if (isLoopback(door) || fronted) {
      yield { state: 'ok', about, text: fronted ? 'left to the proxy in front' : 'not needed on loopback alone' };
      return;
    }
    const text = `passwords cross the network in the clear: ${formatListenAddress(door)} can be reached from other machines`;
    const remedy = 'set WHARFIE_TLS_CERT and WHARFIE_TLS_KEY, or put a TLS proxy in front and listen on loopback';
    yield { state: 'warn', about, text, remedy };
    return;
  }
  let certificate;
  try {
    certificate = new X509Certificate((await loadTls(tls)).cert);
  } catch (error) {
    yield { state: 'bad', about, text: (error as Error).message };
    return;
  }
  yield* examinePermissions(about, tls.key);
  const until = Date.parse(certificate.validTo);
  const left = Math.floor((until - Date.now()) / day);
  const remedy = `renew it; a running proxy takes the new one by itself`;
  if (Date.parse(certificate.validFrom) > Date.now()) {
    yield {
      state: 'bad',
      about,
      text: `the certificate is valid only from ${certificate.validFrom}`,
      remedy: 'check the clock',
    };
  } else if (until < Date.now()) {
    yield { state: 'bad', about, text: `the certificate ended on ${certificate.validTo}`, remedy };
  } else if (left < soon)
    yield { state: 'warn', about, text: `the certificate ends in ${counted(left, 'day')}`, remedy };
  else yield { state: 'ok', about, text: `the certificate is valid for ${left} days` };
  const host = publicUrl === undefined ? undefined : new URL(publicUrl).hostname.replace(/^\[(.*)\]$/, '$1');
  if (host !== undefined && !certificate.checkHost(host) && !certificate.checkIP(host)) {
    const text = `the certificate is not for ${host}, the host of WHARFIE_PUBLIC_URL`;
    yield { state: 'bad', about, text, remedy: `get one with ${host} among its names` };
  }
}
