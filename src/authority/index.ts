// The public face of the authorities that `purser/ledger` adds: the one in this process, and the types of the wire's
// operations. The interface itself, which all ways share, is exported by `purser/client`.

export { LocalAuthority, type LocalAuthorityOptions } from "./local-authority.ts";
export { LocalLedger, type LocalLedgerOptions } from "./local-ledger.ts";
export type { RuntimeRpc, TenantNamespace, TenantRpc } from "./tenant-rpc.ts";
