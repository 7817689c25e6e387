import { type Authority, HttpAuthority, withReservation } from "purser/client";

type Model = (limits: { maxTokens: number }) => Promise<{ text: string; tokensUsed: number }>;
const call = { action: { kind: "llm", name: "chat" }, estimate: { unit: "TOKENS", amount: 1_200 } } as const;

export const connect = (baseUrl: string, apiKey: string): Authority =>
  new HttpAuthority({ baseUrl, apiKey, subject: { tenant: "acme", agent: "writer" } });

export const chat = (authority: Authority, model: Model): Promise<string> =>
  withReservation(authority, call, async ({ caps }) => {
    const { text, tokensUsed } = await model({ maxTokens: caps?.maxTokens ?? 1_000 });
    return { result: text, actual: tokensUsed };
  });
