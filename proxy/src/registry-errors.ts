import { OciError } from '@wharfie/shared';

const unreachable = 'the registry behind this proxy is not running or cannot be reached; try again in a few seconds';

/** 503: nothing was done, and trying again may help. */
export function unavailable(message = unreachable): OciError {
  return new OciError('UNAVAILABLE', message, undefined, { 'Retry-After': '5' });
}

/** 502: the registry takes nothing from this door. */
export function notAccepted(): OciError {
  const message = 'the registry behind this proxy refuses its requests: an operator must give both the same secret';
  return new OciError('BAD_GATEWAY', message);
}

/** 502: something may have been done. */
export function badGateway(): OciError {
  return new OciError('BAD_GATEWAY', 'the registry behind this proxy broke off without an answer; try again');
}
