// The client in a real page, over HTTP and CORS, against the real authority on another origin.

import { expect, test } from "vitest";
import { clientContract } from "../support/client-contract.ts";
import { meterSuite } from "../support/meter-suite.ts";
import { authorityOfThese } from "./authority.ts";

const { open, relayUrl } = authorityOfThese();

test("the authority is on another origin", () => {
  expect(new URL(relayUrl()).origin).not.toBe(location.origin);
});

clientContract("from a page of another origin", open);
meterSuite("from a page of another origin", open);
