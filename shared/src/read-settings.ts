import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { reasonOf } from './reason-of.js';
import type { Environment, Setting, SettingSource } from './setting.js';
import { SettingsError } from './settings-error.js';

type Values<S extends Record<string, Setting<unknown>>> = { [K in keyof S]: z.output<S[K]['schema']> };

/** Every variable that can give the setting. */
export function variablesOf({ variables, secret }: Setting<unknown>): string[] {
  return secret ? variables.flatMap((name) => [name, `${name}_FILE`]) : [...variables];
}

/**
 * The values of `table` in `environment`, and where each came from. An empty variable counts as unset, as compose files
 * write it.
 * @throws SettingsError for the first value that is wrong
 */
export function readSettings<S extends Record<string, Setting<unknown>>>(
  table: S,
  environment: Environment,
): { settings: Values<S>; sources: SettingSource[] } {
  const settings: Record<string, unknown> = {};
  const sources: SettingSource[] = [];
  const isSet = (variable: string): boolean => (environment[variable] ?? '') !== '';
  for (const [name, setting] of Object.entries(table)) {
    const { variables, otherwise, schema, secret } = setting;
    const isLeftOver = (alias: string): boolean => otherwise?.some(isSet) === true && alias.startsWith('REGISTRY_');
    const variable = variablesOf(setting).find((candidate) => isSet(candidate) && !isLeftOver(candidate));
    const raw = variable === undefined ? defaultOf(setting) : valueOf(variable, setting, environment);
    const result = schema.safeParse(raw);
    if (!result.success)
      throw new SettingsError(variable ?? variables[0], result.error.issues[0]?.message ?? 'is not valid');
    settings[name] = result.data;
    if (raw !== undefined)
      sources.push({ setting: variables[0], value: secret ? '***' : raw, source: variable ?? 'default' });
  }
  return { settings: settings as Values<S>, sources };
}

function defaultOf({ fallback }: Setting<unknown>): string | undefined {
  return typeof fallback === 'function' ? fallback() : fallback;
}

/** @throws SettingsError when the variable names a file that cannot be read, or holds nothing */
function valueOf(variable: string, { variables }: Setting<unknown>, environment: Environment): string | undefined {
  const value = environment[variable];
  if (variables.includes(variable) || value === undefined) return value;
  const content = contentOf(variable, value);
  if (content === '') throw new SettingsError(variable, `${value} is empty`);
  return content;
}

function contentOf(variable: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/^\uFEFF|\r?\n$/g, '');
  } catch (error) {
    throw new SettingsError(
      variable,
      `${file} cannot be read (${reasonOf(error)}): name a file that this user may read`,
    );
  }
}
