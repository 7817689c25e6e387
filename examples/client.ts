import { type Authority, HttpAuthority } from "purser/client";

const tokens = (amount: number) => ({ unit: "TOKENS", amount }) as const;
type Model = (limits: { maxTokens: number }) => Promise<{ text: string; tokensUsed: number }>;

export const connect = (baseUrl: string, apiKey: string): Authority =>
  new HttpAuthority({ baseUrl, apiKey, subject: { tenant: "acme", agent: "writer" } });

export async function chat(authority: Authority, model: Model): Promise<string> {
  const held = await authority.reserve({
    action: { kind: "llm", name: "chat" },
    estimate: tokens(1_200),
    ttlMs: 120_000,
  });
  if (!held.ok) return `refused: ${held.denial.code}, ask again: ${JSON.stringify(held.denial.retry)}`;
  const { text, tokensUsed } = await model({ maxTokens: 1_000 }).catch(async (error: unknown) => {
    await authority.release(held.reservationId, { reason: "the model failed" });
    throw error;
  });
  await authority.commit(held.reservationId, { actual: tokens(tokensUsed) });
  return text;
}
