// `Symbol.dispose` where the runtime has it, and the registered symbol that polyfills use where it has not.
// A class with a computed member cannot be left out of a bundle by the tools that make them, whether it is used or not; a
// class that inherits one can. So everything that ends with `using` inherits from Scoped.

export const DISPOSE: typeof Symbol.dispose =
  Symbol.dispose ?? (Symbol.for("Symbol.dispose") as typeof Symbol.dispose);

/** Something that ends with its scope: disposing it is releasing it. */
export abstract class Scoped implements Disposable {
  /** Ends it. Again: nothing. */
  abstract release(): void;

  [DISPOSE](): void {
    this.release();
  }
}
