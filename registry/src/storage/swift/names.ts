import { checkPath } from '../storage-driver.js';

/**
 * Names in the container, as the Swift driver of distribution 2.x gives them: objects below `files/`, the segments of
 * large objects below `segments/`. Entries marked * are ours alone, where distribution does not look.
 *
 *   <prefix>/files/<path>                                          an object
 * * <prefix>/files/wharfie/uploads/<upload>/…                      what is known of an upload
 * * <prefix>/segments/wharfie/<upload>/at/<offset>                 its bytes, later those of a large object
 * * <prefix>/segments/wharfie/<upload>/<append>                    the same, of one who was not the favourite
 * * <prefix>/segments/wharfie/<upload>/committed-<algorithm>       the path of that large object
 */
export class Names {
  readonly #prefix: string;

  /** @param prefix what distribution calls `rootdirectory` */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  object(path: string): string {
    checkPath(path);
    return this.#below(`files/${path}`);
  }

  get uploads(): string {
    return this.#below('files/wharfie/uploads/');
  }

  register(upload: string, register: string): string {
    checkPath(upload);
    return `${this.uploads}${upload}/${register}`;
  }

  segments(upload: string): string {
    checkPath(upload);
    return this.#below(`segments/wharfie/${upload}/`);
  }

  /** The segment that the favourite proposes for an offset. */
  proposal(upload: string, offset: number): string {
    return `${this.segments(upload)}at/${offset}`;
  }

  /** The upload that a segment belongs to, or undefined when it is not one of ours. */
  uploadOf(segment: string): string | undefined {
    const ours = this.#below('segments/wharfie/');
    return segment.startsWith(ours) ? segment.slice(ours.length).split('/')[0] : undefined;
  }

  /** As distribution joins them: https://github.com/distribution/distribution/blob/v2.8.2/registry/storage/driver/swift/swift.go */
  #below(name: string): string {
    return `${this.#prefix}/${name}`.replace(/^\/+/, '');
  }
}
