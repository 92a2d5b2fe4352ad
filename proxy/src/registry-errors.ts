import { OciError } from '@wharfie/shared';

const unreachable = 'the registry behind this proxy is not running or cannot be reached; try again in a few seconds';

export function unavailable(message = unreachable): OciError {
  return new OciError('UNAVAILABLE', message, undefined, { 'Retry-After': '5' });
}

export function notAccepted(): OciError {
  const message = 'the registry behind this proxy refuses its requests: an operator must give both the same secret';
  return new OciError('BAD_GATEWAY', message);
}

export function badGateway(): OciError {
  return new OciError('BAD_GATEWAY', 'the registry behind this proxy broke off without an answer; try again');
}
