import { z } from 'zod';
import type { Login, Place } from './session.js';
import { SwiftRefused, addressAt, ask, endOf, trimmed } from './session.js';

export interface CredentialsV2 {
  username: string;
  password: string;
  tenantName?: string | undefined;
  tenantId?: string | undefined;
}

const answerV2 = z.object({
  access: z.object({
    token: z.object({ id: z.string(), issued_at: z.string().optional(), expires: z.string().optional() }),
    serviceCatalog: z.array(
      z.object({
        type: z.string(),
        endpoints: z.array(z.looseObject({ region: z.string().optional() })),
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
    const endpoints = serviceCatalog
      .filter(({ type }) => type === 'object-store')
      .flatMap((service) => service.endpoints)
      .flatMap(({ region, ...urls }) =>
        Object.entries(urls).flatMap(([name, address]) =>
          name.endsWith('URL') && typeof address === 'string'
            ? [{ interface: name.slice(0, -'URL'.length), url: address, regions: region === undefined ? [] : [region] }]
            : [],
        ),
      );
    const storageUrl = addressAt(place, endpoints);
    return { token: token.id, storageUrl, expires: endOf(token.issued_at, token.expires) };
  };
}

function parse(text: string, url: string): z.infer<typeof answerV2>['access'] {
  try {
    return answerV2.parse(JSON.parse(text)).access;
  } catch {
    throw new SwiftRefused(200, `the login at ${url}`, 'the answer is not that of Keystone, version 2');
  }
}
