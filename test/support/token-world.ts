// A ledger with two budgets and a key that may issue tokens, and what tests of tokens ask of it again and again.
// Nothing here decides anything; every value a test relies on stands in the test.

import {
  type Caller,
  Ledger,
  type LedgerOptions,
  MemoryStore,
  type Permission,
  type Reply,
  type TokenBody,
} from "purser/ledger";
import { bodyOf, budget, reserveRequest, testClock, tokens } from "./ledger-fixtures.ts";

export const KEY = { keyId: "0123456789ab", digest: "d" };
export const SCOPE = "tenant:acme/agent:a";
export const SUBJECT = { tenant: "acme", agent: "a" };
export const PAGE = "https://app.example";
export const LIFE_MS = 900_000;
export const LIFECYCLE: readonly Permission[] = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:extend",
  "reservations:list",
  "balances:read",
];

/** A ledger with two budgets and a key that may issue tokens. */
export function world(options: Partial<LedgerOptions> = {}, key: object = {}) {
  const clock = testClock();
  const store = new MemoryStore();
  const ledger = new Ledger({ tenant: "acme", store, secrets: ["s"], ...options });
  const as = (caller?: Caller) => ({ nowMs: clock.now(), caller });
  bodyOf(ledger.createTenant({ tenant_id: "acme", name: "Acme" }, as()));
  bodyOf(ledger.createBudget(budget("tenant:acme", 10_000), as()));
  bodyOf(ledger.createBudget(budget(SCOPE, 10_000), as()));
  const request = { tenant_id: "acme", name: "server", permissions: LIFECYCLE, ...key };
  bodyOf(ledger.createApiKey(request, { ...KEY, prefix: "p" }, as()));
  bodyOf(ledger.changeApiKeySettings(KEY.keyId, { may_issue_tokens: true }, as()));

  let made = 0;
  const random = () => {
    made += 1;
    return new Uint8Array(16).fill(made);
  };
  const idOf = ({ token_id }: Pick<TokenBody, "token_id">) => token_id.split("_")[1] ?? "";
  const issue = (rest: object = {}, caller: Caller = KEY) =>
    ledger.issueToken({ scope: SCOPE, cap: tokens(100), ...rest }, random(), as(caller));
  const narrow = (caller: Caller, rest: object = {}) =>
    ledger.attenuateToken({ cap: tokens(100), ...rest }, random(), as(caller));
  const callerOf = (reply: Reply<TokenBody>): { tokenId: string } => ({ tokenId: idOf(bodyOf(reply)) });
  const reserve = (caller: Caller | undefined, key: string, amount: bigint | number, rest: object = {}) =>
    ledger.reserve(reserveRequest(key, amount, { subject: SUBJECT, ...rest }), as(caller));
  const hold = (caller: Caller | undefined, key: string, amount: bigint | number, rest: object = {}) =>
    bodyOf(reserve(caller, key, amount, rest)).reservation_id ?? "";
  const commit = (caller: Caller | undefined, id: string, actual: bigint | number) =>
    ledger.commit(id, { idempotency_key: `c ${id}`, actual: tokens(actual) }, as(caller));
  const release = (caller: Caller | undefined, id: string) =>
    ledger.release(id, { idempotency_key: `r ${id}` }, as(caller));
  /** spent/reserved→remaining of a token's cap, or of a budget. */
  const figures = (what: { tokenId: string } | string) => {
    const scope = typeof what === "string" ? what : `x-token:${what.tokenId}`;
    const [account] = store.readAccounts([scope], "TOKENS");
    if (account === undefined) return "none";
    const { allocated, spent, reserved, debt } = account;
    return `${spent}/${reserved}→${allocated - spent - reserved - debt}`;
  };
  return {
    clock,
    store,
    ledger,
    as,
    issue,
    narrow,
    callerOf,
    reserve,
    hold,
    commit,
    release,
    figures,
    random,
  };
}
