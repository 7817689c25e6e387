// `Symbol.asyncDispose` where the runtime has it, else the registered one, as in dispose.ts; a file of its own, since what
// bundles the client alone could leave neither class out. What ends with `await using` inherits from AsyncScoped.

const ASYNC_DISPOSE: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for("Symbol.asyncDispose") as typeof Symbol.asyncDispose);

/** Something that ends with its scope, and has to ask somebody else in order to end. */
export abstract class AsyncScoped implements AsyncDisposable {
  /** Ends it. Again: nothing. */
  abstract dispose(): Promise<void>;

  [ASYNC_DISPOSE](): Promise<void> {
    return this.dispose();
  }
}
