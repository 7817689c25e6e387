import { LeasedBudget } from "purser";
import { RpcAuthority, type TenantNamespace } from "purser/client";

interface Bindings {
  readonly TENANT_BUDGET: TenantNamespace;
  readonly MODEL: Fetcher;
}

let budget: LeasedBudget | undefined; // this isolate's, for all its requests

async function open({ TENANT_BUDGET: namespace }: Bindings): Promise<LeasedBudget> {
  const opened = await LeasedBudget.open(new RpcAuthority({ namespace, tenant: "acme" }), {
    unit: "TOKENS",
    upkeep: "caller", // there are no timers between requests
    slice: { first: 5_000, most: 20_000 }, // what an isolate that is thrown away takes with it, at the most
    reportEveryMs: 5_000,
  });
  if (budget !== undefined) await opened.close(); // another request was first
  budget ??= opened;
  return budget;
}

export default {
  async fetch(request: Request, bindings: Bindings, context: Pick<ExecutionContext, "waitUntil">) {
    const leased = budget ?? (await open(bindings));
    using reservation = leased.tryReserveTokens(1_200); // decided here, without a call
    context.waitUntil(leased.upkeep()); // reports, renewals and top-ups that are due; at once if none is
    if (reservation === null) return new Response(leased.explainDenial(1_200).reason, { status: 402 });
    const reply = await bindings.MODEL.fetch(request);
    leased.recordUsage(reservation, Number(reply.headers.get("x-tokens-used") ?? 1_200), 0);
    return reply;
  },
};
