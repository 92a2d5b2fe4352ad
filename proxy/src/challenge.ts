import { formatListenAddress, repositoryAccess, type Access } from '@wharfie/shared';
import { allowsAnonymous } from './access/decide.js';
import type { Policy } from './access/policy.js';
import { bearerToken } from './authenticate.js';
import type { Exchange } from './exchange.js';
import { tokenPath } from './token/endpoint.js';
import { scopeText } from './token/scope.js';

/**
 * What a 401 asks for: Basic credentials, or a token as soon as something is open to those without an account. Docker
 * asks for credentials nowhere but at `/v2/`, so only a token lets it pull without them and push with them there. Never
 * two challenges: measured, Docker then neither logs in nor pulls without an account.
 * @param publicUrl the address that clients use, when the request does not show it
 */
export function challenge(policy: Policy, exchange: Exchange, publicUrl: string | undefined): Record<string, string> {
  if (exchange.kind === 'token' || !allowsAnonymous(policy)) {
    // https://www.rfc-editor.org/rfc/rfc7617#section-2.1
    return { 'WWW-Authenticate': 'Basic realm="Wharfie", charset="UTF-8"' };
  }
  const scope = scopeText(wanted(exchange));
  const parameters = [
    `realm="${tokenAddress(exchange, publicUrl)}"`,
    'service="wharfie"',
    ...(scope === '' ? [] : [`scope="${scope}"`]),
    ...problem(exchange),
  ];
  // https://distribution.github.io/distribution/spec/auth/token/
  return { 'WWW-Authenticate': `Bearer ${parameters.join(',')}` };
}

function wanted({ route }: Exchange): Access[] {
  const from = route?.kind === 'uploads' ? route.mount?.from : undefined;
  return [...(route?.access ?? []), ...(from === undefined ? [] : [repositoryAccess(from, 'pull')])];
}

/** https://www.rfc-editor.org/rfc/rfc6750#section-3.1 */
function problem(exchange: Exchange): string[] {
  if (bearerToken(exchange) === undefined) return [];
  return [`error="${exchange.login === 'refused' ? 'invalid_token' : 'insufficient_scope'}"`];
}

function tokenAddress({ request, client }: Exchange, publicUrl: string | undefined): string {
  if (publicUrl !== undefined) return `${publicUrl.replace(/\/+$/, '')}${tokenPath}`;
  const { localAddress: host = '', localPort: port = 0 } = request.socket;
  return `${client.protocol}://${client.host ?? formatListenAddress({ host, port })}${tokenPath}`;
}
