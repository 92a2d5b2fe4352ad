/**
 * A value beside each of many short-lived objects, which lives as long as the object. It is a property of the object: what
 * hangs on an entry of a WeakMap outlives V8's minor collections, so that all of every request would be copied twice and
 * wait for a major one.
 */
export class Beside<Owner extends object, Value> {
  readonly #key = Symbol('beside');

  get(owner: Owner): Value | undefined {
    return (owner as Record<symbol, Value | undefined>)[this.#key];
  }

  set(owner: Owner, value: Value): void {
    (owner as Record<symbol, Value>)[this.#key] = value;
  }
}
