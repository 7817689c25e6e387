import type { TenantNamespace } from "purser/ledger";

const call = { subject: { tenant: "acme", agent: "writer" }, action: { kind: "llm", name: "chat" } };
const tokens = (amount: number) => ({ unit: "TOKENS", amount }) as const;

export default {
  async fetch(request: Request, env: { TENANT_BUDGET: TenantNamespace; MODEL: Fetcher }): Promise<Response> {
    const budget = env.TENANT_BUDGET.getByName("acme");
    const id = crypto.randomUUID();
    const held = await budget.reserve({ ...call, idempotency_key: id, estimate: tokens(1_200) });
    if (!held.ok) return new Response(held.message, { status: held.status });
    const reply = await env.MODEL.fetch(request);
    const actual = tokens(Number(reply.headers.get("x-tokens-used")));
    await budget.commit(held.body.reservation_id ?? "", { idempotency_key: `${id}/commit`, actual });
    return reply;
  },
};
