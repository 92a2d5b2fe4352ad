import { resolve } from 'node:path';
import { z } from 'zod';
import { AddressList } from './address-list.js';
import { formatListenAddress, parseListenAddress } from './listen-address.js';

/**
 * One setting: the variables that give it (the first wins), its default, and what it is for. What is secret may also come in
 * a file, which the variable with `_FILE` appended to its name gives.
 */
export interface Setting<T> {
  variables: readonly [string, ...string[]];
  /** Variables of OpenStack that give the same in another way: beside one of them those of distribution do not count. */
  otherwise?: readonly string[];
  schema: z.ZodType<T, string | undefined>;
  /** Used when no variable is set. A function when it follows from other settings or from the machine. */
  fallback?: string | (() => string);
  secret?: true;
  /** What it is for. The values that it takes are in the schema's own description. */
  description: string;
}

/** Where a value came from, for the log: a variable's name or `default`. */
export interface SettingSource {
  setting: string;
  value: string;
  source: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Text that `parse` understands; `expected` is what a refusal asks for. */
export const parsed = <T>(parse: (text: string) => T | undefined, expected: string) =>
  z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.issues.push({ code: 'custom', message: `must be ${expected}, not "${text}"`, input: text });
    return z.NEVER;
  });

export const listenAddress = parsed(parseListenAddress, 'HOST:PORT or unix:PATH').describe(
  '`HOST:PORT` or `unix:PATH`',
);

export const addressList = z
  .string()
  .transform((text, context): AddressList => {
    try {
      return AddressList.parse(text);
    } catch (error) {
      context.issues.push({ code: 'custom', message: (error as Error).message, input: text });
      return z.NEVER;
    }
  })
  .optional()
  .describe('like `192.0.2.7, 10.0.0.0/8`; `unix` for a Unix socket');

/** As compose files write it: where there is no host, every one. Clients are told to use it. */
export const publishedAddress = parsed((text) => {
  const address = parseListenAddress(/^\d+$/.test(text) ? `:${text}` : text);
  if (!address || address.path !== undefined) return undefined;
  return URL.canParse(`http://${formatListenAddress(address)}`) ? address : undefined;
}, 'PORT or HOST:PORT')
  .optional()
  .describe('`PORT` or `HOST:PORT`');

export const path = z.string().transform((text) => resolve(text));

export const optionalPath = path.optional();

export const oneOf = <const T extends readonly [string, ...string[]]>(...words: T) =>
  z
    .enum(words, { error: (issue) => `must be ${words.join(' or ')}, not "${String(issue.input)}"` })
    .describe(words.map((word) => `\`${word}\``).join(', '));

export const range = (least: number, most: number) => `${least} to ${most}`;

export const wholeNumber = (least: number, most: number) =>
  parsed(
    (text) => {
      const number = Number(text);
      return /^\d+$/.test(text) && number >= least && number <= most ? number : undefined;
    },
    `a whole number from ${range(least, most)}`,
  ).describe(range(least, most));

const units = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** A length of time as distribution writes it, in milliseconds. */
export const duration = parsed((text) => {
  const [, number, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * units[unit as keyof typeof units] * 1000;
}, 'a time like 168h, 7d, 30m or 10s').describe('`10s`, `30m`, `168h`, `7d` and so on');

/** For a timer: Node's take at most 2^31 - 1 ms, and fire at once when given more. */
export const timerDuration = duration
  .refine((milliseconds) => milliseconds <= 24 * units.d * 1000, 'must be at most 24d')
  .describe('`10s`, `30m`, `2h` and so on, at most `24d`');

/** A password in it would be shown wherever the address is. */
export const httpAddress = z
  .url({ protocol: /^https?$/, error: 'must be an http or https address' })
  .regex(/^\w+:\/\/[^/?#@]*([/?#]|$)/, 'must be without a user and a password');

const falsehoods = ['0', 'false', 'no', 'off'];
const truths = ['1', 'true', 'yes', 'on'];

export const yesOrNo = z
  .string()
  .toLowerCase()
  .pipe(z.enum([...truths, ...falsehoods], { error: 'must be true or false' }))
  .transform((word) => truths.includes(word))
  .describe('`true` or `false`');
