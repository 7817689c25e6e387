import { RpcAuthority, type TenantNamespace } from "purser/client";

const action = { kind: "llm", name: "chat" };
const tokens = (amount: number) => ({ unit: "TOKENS", amount }) as const;

export default {
  async fetch(request: Request, env: { TENANT_BUDGET: TenantNamespace; MODEL: Fetcher }): Promise<Response> {
    const budget = new RpcAuthority({ namespace: env.TENANT_BUDGET, tenant: "acme" });
    const held = await budget.reserve({ subject: { agent: "writer" }, action, estimate: tokens(1_200) });
    if (!held.ok) return new Response(held.denial.message, { status: 402 });
    const reply = await env.MODEL.fetch(request);
    await budget.commit(held.reservationId, { actual: tokens(Number(reply.headers.get("x-tokens-used"))) });
    return reply;
  },
};
