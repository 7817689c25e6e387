// What a credential may do, told to its holder. Invariant: derived from the key's row alone, by the protocol's table; a
// scope filter changes no capability. Who may call: the Ledger, and the HTTP front for the operator.

import { object } from "valibot";
import { type Reply, succeed } from "./codes.ts";
import type { LedgerCore, Turn } from "./core.ts";
import { capabilitiesOf } from "./permissions.ts";
import type { IntrospectBody } from "./wire.ts";

/** A trusted call, or an operator's: everything, and no tenant. */
export const OPERATOR_INTROSPECTION: IntrospectBody = {
  authenticated: true,
  auth_type: "admin",
  permissions: ["*"],
  capabilities: capabilitiesOf(undefined),
};

export function introspect(core: LedgerCore, turn: Turn): Reply<IntrospectBody> {
  return core.run(turn, (nowMs) => {
    const admitted = core.admit(turn, nowMs, { schema: object({}), input: {} });
    if (!admitted.ok) return admitted;
    const { permissions, principal } = admitted;
    if (permissions === undefined) return succeed(OPERATOR_INTROSPECTION);
    const { scopeFilter = [] } = principal;
    return succeed({
      authenticated: true,
      auth_type: "tenant",
      permissions,
      capabilities: capabilitiesOf(permissions),
      tenant_id: core.tenant,
      ...(scopeFilter.length > 0 && { scope_filter: scopeFilter }),
    });
  });
}
