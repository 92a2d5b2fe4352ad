import { z } from 'zod';
import type { Setting } from './setting.js';
import { httpAddress, yesOrNo } from './setting.js';

const text = z.string().optional();
/** URLs fold `.` and `..`, which would lead out of the container. */
const noDots = /^(?!(.*\/)?\.{1,2}(\/|$))/;
const mustNotBeDots = 'must be without a part that is `.` or `..`';
const interfaces = ['public', 'internal', 'admin'] as const;

const projects = ['OS_PROJECT_NAME', 'OS_PROJECT_ID', 'OS_TENANT_NAME', 'OS_TENANT_ID'];
const userDomains = ['OS_USER_DOMAIN_NAME', 'OS_USER_DOMAIN_ID'];
const domains = ['OS_PROJECT_DOMAIN_NAME', 'OS_PROJECT_DOMAIN_ID', ...userDomains];

/**
 * Where Swift is and who we are there: the variables of the OpenStack clients, then those of distribution.
 * https://docs.openstack.org/python-openstackclient/latest/cli/man/openstack.html#environment-variables
 */
export const swiftTable = {
  storagePrefix: {
    variables: ['WHARFIE_STORAGE_PREFIX', 'REGISTRY_STORAGE_SWIFT_ROOTDIRECTORY', 'REGISTRY_STORAGE_SWIFT_PREFIX'],
    // Swift takes names of 1024 bytes, of which ours need 600.
    schema: z
      .string()
      .regex(noDots, mustNotBeDots)
      .refine((prefix) => Buffer.byteLength(prefix) <= 400, 'must be of 400 bytes at most'),
    fallback: '',
    description: 'Swift: what stands before every name in the container',
  },
  osAuthUrl: {
    variables: ['OS_AUTH_URL', 'REGISTRY_STORAGE_SWIFT_AUTHURL'],
    schema: httpAddress.optional().describe('an http or https address'),
    description: 'Swift: where to log in',
  },
  osAuthVersion: {
    variables: ['OS_AUTH_VERSION', 'OS_IDENTITY_API_VERSION', 'REGISTRY_STORAGE_SWIFT_AUTHVERSION'],
    schema: z
      .string()
      // distribution's own default is 0: guess.
      .regex(/^(0|v?[123](\.0)?)$/, 'must be 1, 2 or 3')
      .transform((version) => Number(/\d/.exec(version)?.[0]) || undefined)
      .optional()
      .describe('`1`, `2` or `3`'),
    description: 'Swift: version of the login; guessed from its address when unset',
  },
  osUsername: {
    variables: ['OS_USERNAME', 'REGISTRY_STORAGE_SWIFT_USERNAME'],
    schema: text,
    description: 'Swift: the user; `account:user` for version 1',
  },
  osUserId: { variables: ['OS_USER_ID'], schema: text, description: 'Swift: the user by its id' },
  osPassword: {
    variables: ['OS_PASSWORD', 'REGISTRY_STORAGE_SWIFT_PASSWORD'],
    schema: text,
    secret: true,
    description: 'Swift: its password, or the key of version 1',
  },
  osContainer: {
    variables: ['OS_CONTAINER', 'REGISTRY_STORAGE_SWIFT_CONTAINER'],
    schema: z
      .string()
      .regex(/^[^/]{1,256}$/, 'must be a name without a slash, of at most 256 bytes')
      .regex(noDots, mustNotBeDots)
      .optional(),
    description: 'Swift: the container; made when missing',
  },
  osProjectName: {
    variables: ['OS_PROJECT_NAME', 'OS_TENANT_NAME', 'REGISTRY_STORAGE_SWIFT_TENANT'],
    otherwise: projects,
    schema: text,
    description: 'Swift: the project',
  },
  osProjectId: {
    variables: ['OS_PROJECT_ID', 'OS_TENANT_ID', 'REGISTRY_STORAGE_SWIFT_TENANTID'],
    otherwise: projects,
    schema: text,
    description: 'Swift: the project by its id',
  },
  osUserDomainName: {
    variables: ['OS_USER_DOMAIN_NAME', 'REGISTRY_STORAGE_SWIFT_DOMAIN'],
    otherwise: userDomains,
    schema: text,
    description: 'Swift: the domain of the user; `Default` when neither name nor id is set',
  },
  osUserDomainId: {
    variables: ['OS_USER_DOMAIN_ID', 'REGISTRY_STORAGE_SWIFT_DOMAINID'],
    otherwise: userDomains,
    schema: text,
    description: 'Swift: the same by its id',
  },
  osProjectDomainName: {
    variables: ['OS_PROJECT_DOMAIN_NAME', 'REGISTRY_STORAGE_SWIFT_TENANTDOMAIN', 'REGISTRY_STORAGE_SWIFT_DOMAIN'],
    otherwise: domains,
    schema: text,
    description: 'Swift: the domain of the project; that of the user when unset',
  },
  osProjectDomainId: {
    variables: ['OS_PROJECT_DOMAIN_ID', 'REGISTRY_STORAGE_SWIFT_TENANTDOMAINID', 'REGISTRY_STORAGE_SWIFT_DOMAINID'],
    otherwise: domains,
    schema: text,
    description: 'Swift: the same by its id',
  },
  osTrustId: {
    variables: ['OS_TRUST_ID', 'REGISTRY_STORAGE_SWIFT_TRUSTID'],
    otherwise: projects,
    schema: text,
    description: 'Swift: a trust of Keystone by its id, instead of a project',
  },
  osApplicationCredentialId: {
    variables: ['OS_APPLICATION_CREDENTIAL_ID'],
    schema: text,
    description: 'Swift: an application credential, instead of a password',
  },
  osApplicationCredentialName: {
    variables: ['OS_APPLICATION_CREDENTIAL_NAME'],
    schema: text,
    description: 'Swift: the same by its name, together with its user',
  },
  osApplicationCredentialSecret: {
    variables: ['OS_APPLICATION_CREDENTIAL_SECRET'],
    schema: text,
    secret: true,
    description: 'Swift: its secret',
  },
  osRegionName: {
    variables: ['OS_REGION_NAME', 'REGISTRY_STORAGE_SWIFT_REGION'],
    schema: text,
    description: 'Swift: the region; the first in the catalogue when unset',
  },
  osInterface: {
    variables: ['OS_INTERFACE', 'OS_ENDPOINT_TYPE', 'REGISTRY_STORAGE_SWIFT_ENDPOINTTYPE'],
    schema: z
      .string()
      .transform((name) => name.replace(/URL$/, ''))
      .pipe(z.enum(interfaces, { error: `must be ${interfaces.join(' or ')}` }))
      .describe('`public`, `internal` or `admin`'),
    fallback: 'public',
    description: 'Swift: which of its addresses in the catalogue',
  },
  osCacert: { variables: ['OS_CACERT'], schema: text, description: 'Swift: PEM file of the authorities to trust' },
  osInsecure: {
    variables: ['OS_INSECURE', 'REGISTRY_STORAGE_SWIFT_INSECURESKIPVERIFY'],
    schema: yesOrNo,
    fallback: 'false',
    description: 'Swift: trust any certificate; for trials only',
  },
  swiftRedirect: {
    variables: ['WHARFIE_SWIFT_REDIRECT'],
    schema: yesOrNo,
    fallback: 'false',
    description: 'Swift: redirect clients that pull a blob to Swift itself (TempURL); they must be able to reach it',
  },
} satisfies Record<string, Setting<unknown>>;
