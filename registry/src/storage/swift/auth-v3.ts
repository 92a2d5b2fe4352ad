import { z } from 'zod';
import type { Login, Place } from './session.js';
import { SwiftRefused, addressAt, ask, endOf, trimmed } from './session.js';

/** A thing of Keystone by its id, or by its name. */
export interface Named {
  id?: string | undefined;
  name?: string | undefined;
}

/** Who logs in, for which project, or by which trust (its id), which carries the project of whoever gave it. */
export interface PasswordV3 {
  user: Named;
  userDomain: Named;
  password: string;
  project: Named;
  projectDomain: Named;
  trust?: string | undefined;
}

/** A credential that carries its project; by name it needs its owner. */
export interface ApplicationCredentialV3 {
  credential: Named;
  secret: string;
  user: Named;
  userDomain: Named;
}

const answerV3 = z.object({
  token: z.object({
    issued_at: z.string().nullish(),
    expires_at: z.string().nullish(),
    catalog: z
      .array(
        z.object({
          type: z.string(),
          endpoints: z.array(
            z.object({
              interface: z.string(),
              url: z.string(),
              region: z.string().nullish(),
              region_id: z.string().nullish(),
            }),
          ),
        }),
      )
      .optional(),
  }),
});

/** Version 3 of Keystone. https://docs.openstack.org/api-ref/identity/v3/#authentication-and-token-management */
export function loginV3(authUrl: string, who: PasswordV3 | ApplicationCredentialV3, place: Place): Login {
  // Some clouds give the address of version 2 alone.
  const url = `${trimmed(authUrl).replace(/\/v(2\.0|3)$/, '')}/v3/auth/tokens`;
  const body = JSON.stringify({ auth: 'secret' in who ? withCredential(who) : withPassword(who) });
  return async (dispatcher, signal) => {
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const answer = await ask(url, { method: 'POST', headers, body }, dispatcher, signal);
    const token = answer.headers['x-subject-token'];
    const parsed = parse(answer.text);
    if (typeof token !== 'string' || !parsed)
      throw new SwiftRefused(200, `the login at ${url}`, 'the answer is not that of Keystone, version 3');
    const endpoints = (parsed.catalog ?? [])
      .filter(({ type }) => type === 'object-store')
      .flatMap((service) => service.endpoints)
      .map(({ region, region_id: regionId, ...endpoint }) => ({
        ...endpoint,
        regions: [region, regionId].filter((name) => name != null),
      }));
    const storageUrl = addressAt(place, endpoints);
    return { token, storageUrl, expires: endOf(parsed.issued_at, parsed.expires_at) };
  };
}

function withPassword({ user, userDomain, password, project, projectDomain, trust }: PasswordV3): object {
  return {
    identity: { methods: ['password'], password: { user: { ...named(user, userDomain), password } } },
    scope: trust === undefined ? { project: named(project, projectDomain) } : { 'OS-TRUST:trust': { id: trust } },
  };
}

function withCredential({ credential, secret, user, userDomain }: ApplicationCredentialV3): object {
  const owner = credential.id === undefined ? { user: named(user, userDomain) } : {};
  return {
    identity: {
      methods: ['application_credential'],
      application_credential: { ...credential, secret, ...owner },
    },
  };
}

/** A name means something only in its domain; an id stands alone. */
function named({ id, name }: Named, domain: Named): object {
  if (id !== undefined) return { id };
  return { name, domain: domain.id === undefined ? { name: domain.name ?? 'Default' } : { id: domain.id } };
}

function parse(text: string): z.infer<typeof answerV3>['token'] | undefined {
  try {
    return answerV3.parse(JSON.parse(text)).token;
  } catch {
    return undefined;
  }
}
