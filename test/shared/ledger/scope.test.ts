// Scope derivation, the operators' scope grammar, and scope filters, as tables.

import { describe, expect, test } from "vitest";
import { hasSegments, leafOf, parseScope, passesScopeFilter, scopesOf } from "../../../src/ledger/scope.ts";

describe("scopes of a subject", () => {
  test.each([
    [{ tenant: "acme" }, ["tenant:acme"]],
    [{ tenant: "acme", agent: "Bot" }, ["tenant:acme", "tenant:acme/agent:bot"]],
    [
      { agent: "b", tenant: "acme", app: "A" },
      ["tenant:acme", "tenant:acme/app:a", "tenant:acme/app:a/agent:b"],
    ],
    [{ workspace: "W" }, ["workspace:w"]],
    [
      { tenant: "t", workspace: "w", app: "a", workflow: "f", agent: "g", toolset: "s" },
      [
        "tenant:t",
        "tenant:t/workspace:w",
        "tenant:t/workspace:w/app:a",
        "tenant:t/workspace:w/app:a/workflow:f",
        "tenant:t/workspace:w/app:a/workflow:f/agent:g",
        "tenant:t/workspace:w/app:a/workflow:f/agent:g/toolset:s",
      ],
    ],
    [{ tenant: "acme", dimensions: { team: "x" } }, ["tenant:acme"]],
  ])("%j", (subject, scopes) => {
    expect(scopesOf(subject)).toEqual(scopes);
  });
});

describe("an operator's scope text", () => {
  test.each([
    ["tenant:acme", "tenant:acme", "acme"],
    ["tenant:Acme/agent:Bot.2", "tenant:acme/agent:bot.2", "acme"],
    ["tenant:a/workspace:w_1/toolset:s-x", "tenant:a/workspace:w_1/toolset:s-x", "a"],
  ])("%s is accepted", (text, scope, tenant) => {
    expect(parseScope(text)).toEqual({ ok: true, scope, tenant });
  });

  test.each([
    ["", "each segment"],
    ["acme", "each segment"],
    ["workspace:w", "must start with tenant:"],
    ["tenant:a/tenant:b", "order"],
    ["tenant:a/agent:b/workspace:w", "order"],
    ["tenant:a/team:b", "each segment"],
    ["tenant:", "an id must"],
    ["tenant:-a", "an id must"],
    ["tenant:a.", "an id must"],
    ["tenant:a b", "an id must"],
    ["tenant:a/", "each segment"],
    [`tenant:${"a".repeat(129)}`, "an id must"],
  ])("%s is refused", (text, rule) => {
    const result = parseScope(text);
    expect(result.ok ? "accepted" : result.rule).toContain(rule);
  });

  test("an id of 128 characters is accepted", () => {
    expect(parseScope(`tenant:${"a".repeat(128)}`).ok).toBe(true);
  });
});

describe("scope filters", () => {
  test.each([
    [undefined, "tenant:a", true],
    [[], "tenant:a", false],
    [["workspace:eng"], "tenant:a/workspace:eng", true],
    [["workspace:Eng"], "tenant:a/workspace:eng/agent:x", true],
    [["workspace:eng"], "tenant:a/workspace:engine", false],
    [["agent:*"], "tenant:a/agent:x", true],
    [["agent:*"], "tenant:a", false],
    [["agent:x", "workspace:w"], "tenant:a/workspace:w", true],
  ])("%j on %s: %s", (filter, scope, passes) => {
    expect(passesScopeFilter(scope, filter)).toBe(passes);
  });
});

test("a filter by segments needs all of them and allows more", () => {
  expect(hasSegments("tenant:a/workspace:w/agent:x", ["tenant:a", "agent:x"])).toBe(true);
  expect(hasSegments("tenant:a/workspace:w", ["agent:x"])).toBe(false);
  expect(leafOf("tenant:a/agent:x")).toBe("agent:x");
  expect(leafOf("tenant:a")).toBe("tenant:a");
});
