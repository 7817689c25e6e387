// The HTTP suites as one: whatever carries requests to an authority is asked all of it. Needs an authority without any
// tenant. Called by the workerd tests, and by the Node tests for a real port with and without a validator before it.

import { beforeAll, describe } from "vitest";
import { accessSuite } from "./access-suite.ts";
import { callerOf, type Front, type Known } from "./front.ts";
import { governanceSuite } from "./governance-suite.ts";
import { leaseSuite } from "./lease-suite.ts";
import { policySuite } from "./policy-suite.ts";
import { runtimeSuite } from "./runtime-suite.ts";
import { tokenSuite } from "./token-suite.ts";
import { wireSuite } from "./wire-suite.ts";

export function httpSuite(front: Front): void {
  describe("HTTP", () => {
    const caller = callerOf(front);
    const keys: Known = { acme: {}, other: {} };
    beforeAll(async () => {
      keys.acme = await caller.makeTenant("acme");
      keys.other = await caller.makeTenant("other");
    });
    runtimeSuite(front, caller, keys);
    accessSuite(front, caller, keys);
    wireSuite(front, caller, keys);
    tokenSuite(front, caller, keys);
    leaseSuite(front, caller, keys);
    governanceSuite(front, caller);
    policySuite(caller);
  });
}
