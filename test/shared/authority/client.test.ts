// The contract of the interface, met by the authority in this process.

import { HttpAuthority } from "purser/client";
import { LocalAuthority } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { clientContract } from "../../support/client-contract.ts";
import { localWay } from "../../support/local-way.ts";
import { settled } from "../../support/test-time.ts";

let made = 0;

clientContract("in this process", async () => {
  made += 1;
  const tenant = localWay(`tenant-${made}`);
  const { ledger } = tenant;
  return {
    tenant,
    numbers: new LocalAuthority({ ledger }),
    exact: new LocalAuthority({ ledger, exact: true }),
  };
});

describe("a page that goes, with a getToken that would have to fetch", () => {
  const NOW_MS = 1_800_000_000_000;
  /** A token's text; its claims need the alphabet of base64url. */
  const tokenUntil = (endMs: number): string =>
    `e30.${btoa(JSON.stringify({ name: "ÿ?>", exp: endMs / 1_000 }))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")}.sig`;

  /** A guard that was made with `first`; all that `getToken` says after that waits for `fetchMore`. */
  async function opened(first: string, statuses: number[] = []) {
    const keys: string[] = [];
    let fetchMore: (token: string) => void = () => expect.fail("not asked for another");
    const getToken = (): PromiseLike<string> | string =>
      keys.length === 0
        ? first
        : new Promise((resolve) => {
            fetchMore = resolve;
          });
    const reserved = {
      decision: "ALLOW",
      reservation_id: "r",
      reserved: { unit: "TOKENS", amount: 100 },
      expires_at_ms: NOW_MS + 60_000,
      affected_scopes: ["tenant:acme"],
    };
    const amounts = {
      charged: { unit: "TOKENS", amount: 70 },
      released: { unit: "TOKENS", amount: 30 },
    };
    const authority = new HttpAuthority({
      baseUrl: "https://authority.test",
      getToken,
      subject: { tenant: "acme" },
      retry: { attempts: 1 },
      now: () => NOW_MS,
      setTimer: () => () => undefined,
      fetch: async (url, { headers }) => {
        keys.push(new Headers(headers).get("x-cycles-api-key") ?? "");
        const status = statuses.shift() ?? 200;
        if (status !== 200) return Response.json({ error: "UNAUTHORIZED", message: "no" }, { status });
        return Response.json(url.endsWith("/commit") ? { status: "COMMITTED", ...amounts } : reserved);
      },
    });
    const guard = await authority.guard({
      action: { kind: "llm", name: "chat" },
      estimate: { unit: "TOKENS", amount: 100 },
    });
    if (!guard.ok) throw new Error(guard.denial.message);
    return { authority, guard, keys, fetchMore: (token: string) => fetchMore(token) };
  }

  test.each([
    ["an API key", "k"],
    ["a token", tokenUntil(NOW_MS + 1_000)],
    ["a text with dots that is no token", "a.b.c"],
  ])("%s that was used before goes with its last request", async (_, key) => {
    const { guard, keys } = await opened(key);
    expect(await guard.commit({ actual: 70 }, { keepalive: true })).toMatchObject({ ok: true });
    expect(keys).toEqual([key, key]);
  });

  test("a token that has ended does not: another one is asked for", async () => {
    const { guard, keys, fetchMore } = await opened(tokenUntil(NOW_MS));
    const commit = guard.commit({ actual: 70 }, { keepalive: true });
    await settled();
    expect(keys).toHaveLength(1);
    fetchMore("another");
    expect(await commit).toMatchObject({ ok: true });
    expect(keys.at(-1)).toBe("another");
  });

  test("neither does one that the authority knows no more", async () => {
    const { guard, keys, fetchMore } = await opened("k", [200, 401]);
    await expect(guard.commit({ actual: 70 }, { keepalive: true })).rejects.toMatchObject({ status: 401 });
    const again = guard.commit({ actual: 70 }, { keepalive: true });
    await settled();
    fetchMore("another");
    expect(await again).toMatchObject({ ok: true });
    expect(keys).toEqual(["k", "k", "another"]);
  });

  test("what is sent otherwise waits for a fresh one", async () => {
    const { guard, keys, fetchMore } = await opened("k");
    const commit = guard.commit({ actual: 70 });
    await settled();
    expect(keys).toHaveLength(1);
    fetchMore("fresh");
    expect(await commit).toMatchObject({ ok: true });
    expect(keys).toEqual(["k", "fresh"]);
  });
});

test("a signal of the caller's hears no more of a call that is over, whichever way it ended", async () => {
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  let added = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    added += 1;
    listeners.add(args[1]);
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners.delete(args[1]);
    removeEventListener.apply(signal, args);
  };
  const answers = [
    () => Promise.reject(new TypeError("connection reset")),
    async () => Response.json({ balances: [], has_more: false }),
    async () => Response.json({ error: "FORBIDDEN", message: "no" }, { status: 403 }),
  ];
  const authority = new HttpAuthority({
    baseUrl: "https://authority.test",
    apiKey: "k",
    random: () => 0, // the wait before the second try, too, is the platform's own
    fetch: async () => answers.shift()?.() ?? Response.error(),
  });
  expect(await authority.balances({ tenant: "acme" }, { signal })).toEqual([]);
  await expect(authority.balances({ tenant: "acme" }, { signal })).rejects.toMatchObject({ status: 403 });
  expect(added).toBe(4); // three tries and a wait
  expect(listeners.size).toBe(0);
});

test("a server that gives the same cursor again is not asked for ever", async () => {
  let pages = 0;
  const fetch = async () => {
    pages += 1;
    const hasMore = pages < 10; // so that a client which goes on comes to an end
    return Response.json({ balances: [], has_more: hasMore, ...(hasMore && { next_cursor: "c" }) });
  };
  const authority = new HttpAuthority({ baseUrl: "https://authority.test", apiKey: "k", fetch });
  await expect(authority.balances({ tenant: "acme" })).rejects.toMatchObject({
    code: "AUTHORITY_ANSWER_INVALID",
    message: expect.stringContaining("next_cursor"),
  });
  expect(pages).toBe(2);
});

test("a redirect as a page sees it, with status 0, is not asked for again", async () => {
  let calls = 0;
  const fetch = async () => {
    calls += 1;
    return Response.error(); // what has no status; `opaqueredirect` cannot be made by hand
  };
  const authority = new HttpAuthority({ baseUrl: "https://authority.test", apiKey: "k", fetch });
  await expect(authority.balances({ tenant: "acme" })).rejects.toMatchObject({
    status: 0,
    outcome: "unknown",
  });
  expect(calls).toBe(1);
});
