// The HTTP suites in front of the Worker inside workerd, over real Durable Objects, whose rows can be looked into here.

import { ApiKeys } from "purser/ledger";
import { describe, expect, test } from "vitest";
import { readBody } from "../../worker/http/body.ts";
import { VERIFIED_KEYS_MAX, VerifiedKeys } from "../../worker/http/verified-keys.ts";
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

test.each([
  [64 * 1024 + 1, false],
  [64 * 1024, true],
])("a body that declares %i bytes is read: %s", async (declared, isRead) => {
  const pulled: number[] = [];
  const body = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        pulled.push(declared);
        controller.enqueue(new TextEncoder().encode("{}"));
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const headers = { "content-type": "application/json", "content-length": String(declared) };
  const request = new Request("https://purser.test/", { method: "POST", headers, body });
  const verdict = await readBody(request).catch(
    (error: { refusal: { status: number } }) => error.refusal.status,
  );
  expect([verdict, pulled.length > 0]).toEqual([isRead ? {} : 413, isRead]);
});

test.each([["60"], [undefined]])(
  "who hangs up in mid-body (declared: %s) is refused, and is no fault of ours",
  async (declared) => {
    let pulls = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        pulls += 1;
        if (pulls > 1) controller.error(new Error("Network connection lost."));
        else controller.enqueue(new TextEncoder().encode('{"a":'));
      },
    });
    const headers = { "content-type": "application/json", ...(declared && { "content-length": declared }) };
    const request = new Request("https://purser.test/", { method: "POST", headers, body });
    await expect(readBody(request)).rejects.toMatchObject({
      refusal: { status: 400, error: "INVALID_REQUEST" },
    });
  },
);

describe("keys that were verified", () => {
  const keys = new ApiKeys(["s"]);
  const mint = (number: number) => {
    const random = new Uint8Array(22);
    new DataView(random.buffer).setUint32(0, number);
    return keys.mint("acme", random);
  };

  test("are not verified again, others are never kept", () => {
    let asked = 0;
    const verified = new VerifiedKeys({
      verify: (text) => {
        asked += 1;
        return keys.verify(text);
      },
    });
    const { text, keyId, digest } = mint(1);
    for (const _ of [1, 2])
      expect(verified.verify(text)).toEqual({ tenant: "acme", caller: { keyId, digest } });
    expect([asked, verified.size]).toEqual([1, 1]);
    expect(verified.verify(text.replace(/.$/, (last) => (last === "0" ? "1" : "0")))).toBeUndefined();
    expect([asked, verified.size]).toEqual([2, 1]);
  });

  test("are kept up to a bound, and all count beyond it", () => {
    const verified = new VerifiedKeys(keys);
    const texts = Array.from({ length: VERIFIED_KEYS_MAX + 1 }, (_, number) => mint(number));
    for (const [index, { text, keyId }] of texts.entries()) {
      expect(verified.verify(text)?.caller.keyId).toBe(keyId);
      expect(verified.size).toBe(index < VERIFIED_KEYS_MAX ? index + 1 : 1);
    }
    expect(verified.verify(texts[0]?.text ?? "")?.caller.keyId).toBe(texts[0]?.keyId);
  });
});
