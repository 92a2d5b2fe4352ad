import { z } from 'zod';
import type { Login, Place } from './session.js';
import { SwiftRefused, ask, trimmed } from './session.js';

export interface CredentialsV2 {
  username: string;
  password: string;
  tenantName?: string | undefined;
  tenantId?: string | undefined;
}

const answerV2 = z.object({
  access: z.object({
    token: z.object({ id: z.string(), expires: z.string().optional() }),
    serviceCatalog: z.array(
      z.object({
        type: z.string(),
        endpoints: z.array(z.record(z.string(), z.unknown())),
      }),
    ),
  }),
});

/** Version 2 of Keystone, gone since its release of 2018 and still answered by some clouds. */
export function loginV2(authUrl: string, credentials: CredentialsV2, place: Place): Login {
  const url = `${trimmed(authUrl)}/tokens`;
  return async (dispatcher, signal) => {
    const { username, password, tenantName, tenantId } = credentials;
    const body = JSON.stringify({ auth: { passwordCredentials: { username, password }, tenantName, tenantId } });
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const { text } = await ask(url, { method: 'POST', headers, body }, dispatcher, signal);
    const { token, serviceCatalog } = parse(text, url);
    const endpoint = serviceCatalog
      .filter(({ type }) => type === 'object-store')
      .flatMap(({ endpoints }) => endpoints)
      .find(({ region }) => place.region === undefined || region === place.region);
    const storageUrl = endpoint?.[`${place.interface}URL`];
    if (typeof storageUrl !== 'string')
      throw new SwiftRefused(200, `the login at ${url}`, `no object-store for ${describe(place)} is in its catalogue`);
    const expires = Date.parse(token.expires ?? '');
    return {
      token: token.id,
      storageUrl: trimmed(storageUrl),
      expires: Number.isNaN(expires) ? undefined : expires,
    };
  };
}

export function describe({ region, interface: name }: Place): string {
  return `region ${region ?? '(any)'} and interface ${name}`;
}

function parse(text: string, url: string): z.infer<typeof answerV2>['access'] {
  try {
    return answerV2.parse(JSON.parse(text)).access;
  } catch {
    throw new SwiftRefused(200, `the login at ${url}`, 'the answer is not that of Keystone, version 2');
  }
}
