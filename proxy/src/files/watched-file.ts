import { SettingsError, readOrdinaryFile } from '@wharfie/shared';

/** A change is taken when two looks in a row agree, so it applies within twice this time, in milliseconds. */
const lookEvery = 250;

export interface WatchedFileOptions<T> {
  /** Throws an error whose message says the line and what is wrong. */
  parse: (text: string) => T;
  /** Called for the first content and for every change. */
  onLoaded: (value: T) => void;
  /** Called once for a change to something that cannot be used; what was last good stays in force. */
  onError: (error: SettingsError) => void;
}

/**
 * The parsed content of a small file, kept up to date. The file is read again and again and compared, rather than
 * watched or asked for its times: that alone is right on bind mounts and NFS, for a replacement by rename, and for two
 * changes within one tick of the clock. A file caught half-written, or missing between an editor's two renames, is
 * looked at again before it is believed.
 */
export class WatchedFile<T> {
  #current: T;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** What was seen at the last look, and what was last taken: a content or the reason why there is none. */
  #seen: Look;
  #taken: Look;

  /** @throws SettingsError when the file cannot be read or is wrong */
  static async open<T>(path: string, options: WatchedFileOptions<T>): Promise<WatchedFile<T>> {
    const look = await lookAt(path);
    if (look.text === undefined) throw new SettingsError(path, look.problem);
    const file = new WatchedFile(path, options, look, parsed(path, look.text, options));
    options.onLoaded(file.current);
    file.#schedule();
    return file;
  }

  private constructor(
    private readonly path: string,
    private readonly options: WatchedFileOptions<T>,
    look: Look,
    value: T,
  ) {
    this.#current = value;
    this.#seen = look;
    this.#taken = look;
  }

  /** The last good content. */
  get current(): T {
    return this.#current;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(
      () =>
        void this.#look().finally(() => {
          this.#schedule();
        }),
      lookEvery,
    ).unref();
  }

  async #look(): Promise<void> {
    const look = await lookAt(this.path);
    const settled = same(look, this.#seen);
    this.#seen = look;
    if (!settled || same(look, this.#taken) || this.#closed) return;
    this.#taken = look;
    try {
      if (look.text === undefined) throw new SettingsError(this.path, look.problem);
      this.#current = parsed(this.path, look.text, this.options);
    } catch (error) {
      this.options.onError(error as SettingsError);
      return;
    }
    this.options.onLoaded(this.#current);
  }
}

type Look = { text: string } | { text?: never; problem: string };

function same(a: Look, b: Look): boolean {
  return a.text === undefined ? b.text === undefined && a.problem === b.problem : a.text === b.text;
}

async function lookAt(path: string): Promise<Look> {
  try {
    return { text: (await readOrdinaryFile(path)).toString() };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return { problem: 'there is no such file' };
    if (code === 'EACCES') return { problem: 'this user may not read it' };
    return { problem: `cannot be read: ${message}` };
  }
}

function parsed<T>(path: string, text: string, { parse }: WatchedFileOptions<T>): T {
  try {
    return parse(text);
  } catch (error) {
    throw new SettingsError(path, (error as Error).message);
  }
}
