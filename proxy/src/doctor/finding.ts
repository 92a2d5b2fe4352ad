/** One thing that was looked at, and how to mend it when it is not as it should be. */
export interface Finding {
  state: 'ok' | 'warn' | 'bad';
  about: string;
  text: string;
  remedy?: string;
}
