// The package's entry `purser/tokens`: giving budget to somebody who must not have a key. For servers, and for holders that
// narrow what they have; a page that only spends with a token needs `purser/client` alone.

export type { HttpOptions } from "./authority/http-transport.ts";
export {
  type IssuedToken,
  type TokenGrant,
  TokenIssuer,
  type TokenIssuerOptions,
  type TokenNarrowing,
  type TokenState,
} from "./authority/token-issuer.ts";
