import { withReservation } from "purser/client";
import { LocalAuthority } from "purser/ledger";

const tokens = (amount: number) => ({ unit: "TOKENS", amount }) as const;
const authority = new LocalAuthority({ tenant: "acme", now: Date.now });
authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: tokens(4_000) });
authority.ledger.createBudget({
  scope: "tenant:acme/agent:writer",
  unit: "TOKENS",
  allocated: tokens(1_500),
});

const call = { subject: { agent: "writer" }, action: { kind: "llm", name: "chat" }, estimate: tokens(1_200) };
const model = async () => ({ text: "hello", tokensUsed: 900 }); // yours

const text = await withReservation(authority, call, async () => {
  const { text, tokensUsed } = await model();
  return { result: text, actual: tokensUsed };
});
const next = await authority.reserve(call);
if (!next.ok) console.log(text, next.denial.code, next.denial.scope, next.denial.figures?.available);
for (const { scopePath, spent } of await authority.balances()) console.log(scopePath, spent);
