// Wire calls to whoever has the operations of one tenant as methods: a Durable Object's stub, or a ledger in this process.
// Who may call: RpcAuthority and LocalAuthority.

import type { Reply } from "../ledger/codes.ts";
import { parseAnswer, requestText } from "./json-answer.ts";
import type { RuntimeRpc } from "./tenant-rpc.ts";
import type { WireAnswer, WireCall, WireFields } from "./wire-call.ts";

/** The operations of {@link RuntimeRpc}, answered now or later. */
export type TenantOperations = {
  [Name in keyof RuntimeRpc]: (
    ...args: Parameters<RuntimeRpc[Name]>
  ) => ReturnType<RuntimeRpc[Name]> | Awaited<ReturnType<RuntimeRpc[Name]>>;
};

/** The call as HTTP would bring it, so that every way means the same by a Date, by what is undefined or has no form in JSON. */
export function asWritten(call: WireCall): WireCall {
  return "body" in call ? { ...call, body: parseAnswer(requestText(call.body)) as WireFields } : call;
}

export async function callTenant(tenant: TenantOperations, call: WireCall): Promise<WireAnswer> {
  const reply = await operate(tenant, call);
  const { status } = reply;
  if (reply.ok) return { status, body: reply.body };
  const { error, message, details, retryAfterMs } = reply;
  return { status, body: { error, message, details }, retryAfterMs };
}

/** The ledger's schemas judge what a call carries; the operations' types are only what they hope for. */
function operate(tenant: TenantOperations, call: WireCall): PromiseLike<Reply<unknown>> | Reply<unknown> {
  const operations = tenant as Record<WireCall["operation"], (...parameters: unknown[]) => Reply<unknown>>;
  const id = "id" in call ? [call.id] : [];
  const rest = "body" in call ? [call.body] : "query" in call ? [call.query] : [];
  return operations[call.operation](...id, ...rest);
}
