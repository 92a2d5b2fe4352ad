/** One thing that was looked at, and how to mend it when it is not as it should be. */
export interface Finding {
  state: 'ok' | 'warn' | 'bad';
  about: string;
  text: string;
  remedy?: string;
}

/** The remedy for what is not there yet. */
export const firstStart = 'the first start makes it';

/** How many there are of something, as a finding says it. */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`;
}
