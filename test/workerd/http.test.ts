// The HTTP suites in front of the Worker inside workerd, over real Durable Objects, whose rows can be looked into here.

import { expect, test } from "vitest";
import { httpSuite } from "../support/http/http-suite.ts";
import { front } from "./support.ts";

httpSuite(front);

test("a body without end is cut off while it streams", async () => {
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(16 * 1024).fill(32)),
  });
  const headers = { "content-type": "application/json", "x-admin-api-key": front.adminKey };
  const answer = await front.send("/v1/admin/tenants", { method: "POST", headers, body: endless });
  expect(answer.status).toBe(413);
});
