import {
  type AuthorityDeniedError,
  RpcAuthority,
  type TenantNamespace,
  withReservation,
} from "purser/client";

const call = { action: { kind: "llm", name: "chat" }, estimate: { unit: "TOKENS", amount: 1_200 } } as const;

export default {
  async fetch(request: Request, env: { TENANT_BUDGET: TenantNamespace; MODEL: Fetcher }): Promise<Response> {
    const budget = new RpcAuthority({
      namespace: env.TENANT_BUDGET,
      tenant: "acme",
      subject: { agent: "writer" },
    });
    try {
      return await withReservation(budget, call, async ({ reserved }) => {
        const reply = await env.MODEL.fetch(request);
        const used = reply.headers.get("x-tokens-used"); // a model that does not tell costs what was held
        return { result: reply, actual: used === null ? reserved.amount : Number(used) };
      });
    } catch (error) {
      const { code, denial } = error as Partial<AuthorityDeniedError>; // by its code: classes do not survive RPC
      if (code === "BUDGET_DENIED") return new Response(denial?.message, { status: 402 });
      throw error;
    }
  },
};
