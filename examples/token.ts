import { type Authority, HttpAuthority } from "purser/client";
import { TokenIssuer } from "purser/tokens";

const baseUrl = "https://budgets.example.com";

/**
 * On your server, which has the key: what the page of one signed-in user may spend, and for how long. Keep the `tokenId` in the
 * user's session: with it the same token lasts longer, and what was spent of its cap stays spent.
 */
export async function issueFor(user: string, apiKey: string, tokenId?: string, at: string | URL = baseUrl) {
  const issuer = new TokenIssuer({ baseUrl: at, apiKey });
  if (tokenId !== undefined) return issuer.renew(tokenId, { ttlMs: 600_000 });
  return issuer.issue({
    scope: `tenant:acme/agent:${user}`,
    cap: { unit: "TOKENS", amount: 20_000 }, // all in all, whatever the page does; 0 would be zero
    maxPerOperation: { unit: "TOKENS", amount: 4_000 },
    ttlMs: 600_000,
  });
}

/** In the page, which asks your server for a token, and every five minutes to make it last longer. */
export function openInPage(
  user: string,
  askServer: () => Promise<string>,
  at: string | URL = baseUrl,
): Authority {
  let token = "";
  let untilMs = 0;
  const getToken = async () => {
    if (performance.now() >= untilMs) {
      token = await askServer();
      untilMs = performance.now() + 300_000;
    }
    return token;
  };
  return new HttpAuthority({ baseUrl: at, getToken, subject: { tenant: "acme", agent: user } });
}

/** In the page: a part of what it has, for an agent that it trusts even less. */
export async function narrowFor(tool: string, token: string, at: string | URL = baseUrl): Promise<string> {
  const holder = new TokenIssuer({ baseUrl: at, apiKey: token });
  const child = await holder.attenuate({ cap: { unit: "TOKENS", amount: 500 }, name: tool, ttlMs: 60_000 });
  return child.token;
}
