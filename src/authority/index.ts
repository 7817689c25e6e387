// The public face of the authorities: the one in this process, and the types of the one at the edge.

export { LocalAuthority, type LocalAuthorityOptions } from "./local-authority.ts";
export type { TenantNamespace, TenantRpc } from "./tenant-rpc.ts";
