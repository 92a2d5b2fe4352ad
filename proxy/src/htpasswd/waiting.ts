import { OciError } from '@wharfie/shared';

/** Logins that may wait for their turn; at cost 10 one thread checks some twenty a second. */
const maxWaiting = 1000;

/** @throws OciError TOOMANYREQUESTS when no login more may wait beside those that do */
export function refuseBeside(waiting: number): void {
  if (waiting < maxWaiting) return;
  const message = 'more logins are being checked than this server can do at once: try again in a few seconds';
  throw new OciError('TOOMANYREQUESTS', message, undefined, { 'Retry-After': '5' });
}
