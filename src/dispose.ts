// `Symbol.dispose` where the runtime has it, and the registered symbol that polyfills use where it has not.

export const DISPOSE: typeof Symbol.dispose =
  Symbol.dispose ?? (Symbol.for("Symbol.dispose") as typeof Symbol.dispose);
