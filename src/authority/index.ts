// The public face of the authorities that the library itself brings.

export { LocalAuthority, type LocalAuthorityOptions } from "./local-authority.ts";
