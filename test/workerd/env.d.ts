// The bindings that wrangler.toml and vitest.config.ts give to the tests, and the module they test.

declare namespace Cloudflare {
  interface Env extends Required<Omit<import("../../worker/env.ts").Env, "PURSER_HASH_SECRET_PREVIOUS">> {}
  interface GlobalProps {
    mainModule: typeof import("../../worker/index.ts");
  }
}

/** A file's text, as vite hands it over. */
declare module "*?raw" {
  const text: string;
  export default text;
}
