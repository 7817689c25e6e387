// The authority from a Worker that has the TENANT_BUDGET binding: RPC to the tenant's Durable Object, without HTTP and
// without a key, since a Worker with the binding is trusted. Invariant: every try has a stub of its own, because a stub
// that threw stays broken. Who may call: Workers.

import { AuthorityError } from "./errors.ts";
import * as CLIENT_LIMITS from "./limits/client.ts";
import type { RuntimeRpc } from "./tenant-rpc.ts";
import { asWritten, callTenant } from "./tenant-send.ts";
import { type RemoteOptions, WireAuthority } from "./wire-authority.ts";
import type { WireAnswer, WireCall } from "./wire-call.ts";

export interface RpcAuthorityOptions<Exact extends boolean = false> extends RemoteOptions<Exact> {
  /** The binding: `env.TENANT_BUDGET`. */
  readonly namespace: { getByName(tenant: string): RuntimeRpc };
  /** Whose budgets; also the tenant of every subject. */
  readonly tenant: string;
}

/**
 * @example
 * const authority = new RpcAuthority({ namespace: env.TENANT_BUDGET, tenant: "acme" });
 */
export class RpcAuthority<Exact extends boolean = false> extends WireAuthority<Exact> {
  constructor(options: RpcAuthorityOptions<Exact>) {
    const { namespace, tenant, timeoutMs = CLIENT_LIMITS.timeoutMs, retry } = options;
    super(
      { ...options, subject: { ...options.subject, tenant } },
      {
        timeoutMs,
        retry,
        place: "rpc",
        // Also what the binding itself throws is no answer.
        send: (call) => reach(() => namespace.getByName(tenant), asWritten(call)),
      },
    );
  }
}

async function reach(open: () => RuntimeRpc, call: WireCall): Promise<WireAnswer> {
  try {
    return await callTenant(open(), call);
  } catch (cause) {
    return unavailable(cause);
  }
}

/** Classes do not survive RPC, so nothing is told from what was thrown but that there is no answer. */
function unavailable(cause: unknown): never {
  const said = cause instanceof Error ? cause.message : String(cause);
  throw new AuthorityError("AUTHORITY_UNAVAILABLE", `no answer from the tenant's object: ${said}`, {
    outcome: "unknown",
    cause,
  });
}
