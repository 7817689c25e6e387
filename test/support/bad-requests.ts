// Requests that no authority may accept, generated. Every one is wrong by construction, in one way that its `fault`
// names; noise that must not matter (malformed trace headers, unknown query parameters) is laid over them at random.
// Invariant: none can change a ledger. Who may call: the fuzz test; the seed makes the whole run.

import fc from "fast-check";
import { adminAddressFaults, adminOperationsOf } from "./bad-admin-requests.ts";

export interface BadRequest {
  readonly fault: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** The only statuses that are right. */
  readonly statuses: readonly number[];
}

/** What the requests are aimed at: a tenant with a budget and an open reservation, and a stranger's. */
export interface Target {
  readonly tenant: string;
  readonly apiKey: string;
  readonly reservationId: string;
  readonly foreignReservationId: string;
  readonly leaseId: string;
  readonly foreignTenant: string;
  readonly adminKey: string;
  readonly apiKeyId: string;
  readonly policyId: string;
}

type Json = Record<string, unknown>;
export interface Operation {
  readonly method: string;
  readonly path: string;
  /** The key that opens it. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Json;
  readonly required: readonly string[];
  /** No body at all would be right too. */
  readonly isBodyOptional?: boolean;
  /** Where an amount stands, as a path of names. */
  readonly amount?: readonly [string, string];
}

const utf8 = (text: string) => new TextEncoder().encode(text);

function operationsOf(target: Target): readonly Operation[] {
  const subject = { tenant: target.tenant };
  const action = { kind: "llm.completion", name: "model" };
  const amount = { unit: "TOKENS", amount: 1 };
  const own = `/v1/reservations/${target.reservationId}`;
  const runtime = [
    {
      path: "/v1/reservations",
      body: { idempotency_key: "k", subject, action, estimate: amount },
      required: ["idempotency_key", "subject", "action", "estimate"],
      amount: ["estimate", "amount"] as const,
    },
    {
      path: "/v1/decide",
      body: { idempotency_key: "k", subject, action, estimate: amount },
      required: ["idempotency_key", "subject", "action", "estimate"],
      amount: ["estimate", "amount"] as const,
    },
    {
      path: "/v1/events",
      body: { idempotency_key: "k", subject, action, actual: amount },
      required: ["idempotency_key", "subject", "action", "actual"],
      amount: ["actual", "amount"] as const,
    },
    {
      path: `${own}/commit`,
      body: { idempotency_key: "k", actual: amount },
      required: ["idempotency_key", "actual"],
      amount: ["actual", "amount"] as const,
    },
    { path: `${own}/release`, body: { idempotency_key: "k" }, required: ["idempotency_key"] },
    {
      path: `${own}/extend`,
      body: { idempotency_key: "k", extend_by_ms: 1000 },
      required: ["idempotency_key", "extend_by_ms"],
    },
    {
      path: "/v1/x-purser/leases",
      body: { idempotency_key: "k", subject, unit: "TOKENS", want: 1 },
      required: ["idempotency_key", "subject", "unit", "want"],
    },
    {
      path: `/v1/x-purser/leases/${target.leaseId}/renew`,
      body: { epoch: 1, unit: "TOKENS", sequence: 1, spent: 0, held: 0, returned: 0, want: 1 },
      required: ["epoch", "unit", "sequence", "spent", "held", "returned", "want"],
    },
    {
      path: `/v1/x-purser/leases/${target.leaseId}/return`,
      body: { epoch: 1, unit: "TOKENS", sequence: 1, spent: 0, held: 0, returned: 0 },
      required: ["epoch", "unit", "sequence", "spent", "held", "returned"],
    },
  ];
  const headers = { "x-cycles-api-key": target.apiKey };
  return [...runtime.map((it) => ({ method: "POST", headers, ...it })), ...adminOperationsOf(target)];
}

/**
 * A fault in a body: from the operation and some randomness to bytes, and to what they must be answered. Undefined where
 * the operation cannot have it.
 */
type BodyFault = (operation: Operation) => fc.Arbitrary<SpoiltBody> | undefined;
interface SpoiltBody {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly statuses?: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
}

const text = (value: unknown) => ({ body: utf8(JSON.stringify(value)) });
/** What stands before and behind a text that may be any: that of '"k"', else of a field that nobody knows. */
function aroundText(body: Json): readonly [string, string] {
  const whole = JSON.stringify(body);
  const at = whole.indexOf('"k"');
  return at === -1 ? [`${whole.slice(0, -1)},"x":"`, '"}'] : [whole.slice(0, at + 1), whole.slice(at + 2)];
}
const name = fc.string({ minLength: 1, maxLength: 20 });
/** Nothing that any field of the protocol takes. */
const nonsense = fc.constantFrom<unknown>(null, true, [], [[]], { surprise: 1 }, -1, 1.5, "", " ");

const BODY_FAULTS: Readonly<Record<string, BodyFault>> = {
  "cut off": ({ body, isBodyOptional = false }) => {
    const whole = utf8(JSON.stringify(body));
    return fc
      .integer({ min: isBodyOptional ? 1 : 0, max: whole.length - 1 })
      .map((end) => ({ body: whole.slice(0, end) }));
  },
  "something behind": ({ body }) =>
    fc.constantFrom("{}", ",", "x", "\u0000", "]", "}", "//").map((tail) => ({
      body: utf8(JSON.stringify(body) + tail),
    })),
  "random bytes": () =>
    fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => ({
      // No JSON value begins with this byte.
      body: Uint8Array.of(0x01, ...bytes),
    })),
  "not UTF-8": ({ body }) =>
    fc
      .constantFrom([0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x80], [0xf5, 0x80, 0x80, 0x80])
      .map((bytes) => {
        const [head, tail] = aroundText(body);
        return { body: Uint8Array.from([...utf8(head), ...bytes, ...utf8(tail)]) };
      }),
  "not an object": () =>
    fc
      .constantFrom<unknown>(null, 1, "text", [], true)
      .map((value) => ({ body: utf8(JSON.stringify(value)) })),
  "too deep": ({ body }) =>
    fc.tuple(fc.integer({ min: 40, max: 10_000 }), fc.boolean()).map(([depth, objects]) => {
      const [open, close] = objects ? ['{"a":', "}"] : ["[", "]"];
      const bottom = `${(open ?? "").repeat(depth)}1${(close ?? "").repeat(depth)}`;
      return {
        body: utf8(JSON.stringify(body).replace(/}$/, `,"metadata":${bottom}}`)),
        statuses: [400, 413],
      };
    }),
  "too large": ({ body }) =>
    fc.integer({ min: 65_537, max: 80_000 }).map((length) => ({
      body: utf8(aroundText(body).join("k".repeat(length))),
      statuses: [413],
    })),
  "unknown field": ({ body }) => name.map((field) => text({ ...body, [`x_${field}`]: 1 })),
  __proto__: ({ body }) =>
    fc
      .constantFrom("__proto__", "constructor", "prototype", "toString", "hasOwnProperty")
      .map((field) => ({ body: utf8(JSON.stringify(body).replace(/}$/, `,"${field}":{"polluted":1}}`)) })),
  "a key twice": ({ body }) =>
    fc
      .constantFrom(...Object.keys(body))
      .map((field) => ({ body: utf8(JSON.stringify(body).replace(/}$/, `,"${field}":1}`)) })),
  "half a surrogate pair": ({ body }) =>
    fc
      .constantFrom("\\ud800", "\\udfff", "\\ud800\\ud800", "a\\udc00b")
      .map((half) => ({ body: utf8(aroundText(body).join(half)) })),
  "required field missing": ({ body, required }) =>
    required.length === 0
      ? undefined
      : fc
          .constantFrom(...required)
          .map((missing) =>
            text(Object.fromEntries(Object.entries(body).filter(([field]) => field !== missing))),
          ),
  "required field of no sense": ({ body, required }) =>
    required.length === 0
      ? undefined
      : fc
          .tuple(fc.constantFrom(...required), nonsense)
          // A key of one blank is a key.
          .filter(([field, value]) => !(field === "idempotency_key" && value === " "))
          .map(([field, value]) => text({ ...body, [field]: value })),
  "an amount that is none": ({ body, amount }) =>
    amount === undefined
      ? undefined
      : fc
          .constantFrom(
            "-1",
            "1.0",
            "1e2",
            "-0",
            "9223372036854775808",
            "1e400",
            '"1"',
            "null",
            "[]",
            "0.1",
            "01",
            "+1",
          )
          .map((value) => {
            const [outer, inner] = amount;
            const marked = { ...body, [outer]: { unit: "TOKENS", [inner]: "@" } };
            return { body: utf8(JSON.stringify(marked).replace('"@"', value)) };
          }),
  "a key that its header contradicts": ({ body }) =>
    body.idempotency_key === undefined
      ? undefined
      : fc
          .string({ unit: fc.constantFrom(..."abcdefgh"), minLength: 2, maxLength: 20 })
          .map((header) => ({ ...text(body), headers: { "x-idempotency-key": header } })),
  "another media type": ({ body }) =>
    fc
      .constantFrom(
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "",
      )
      .map((type) => ({ ...text(body), headers: { "content-type": type }, statuses: [415] })),
  "a compressed body": ({ body }) =>
    fc
      .constantFrom("gzip", "br", "deflate", "zstd", "identity, gzip")
      .map((encoding) => ({ ...text(body), headers: { "content-encoding": encoding }, statuses: [415] })),
};

/** Headers that a server must not mind. */
const noise: fc.Arbitrary<Record<string, string>> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom("traceparent", "x-cycles-trace-id", "accept", "origin", "x-forwarded-for", "cookie"),
        fc.string({ unit: fc.constantFrom(..."00-abcdef0123456789;=,"), maxLength: 300 }),
      )
      .map(([header, value]) => ({ [header]: value })),
  },
);

function bodyFaults(target: Target): fc.Arbitrary<BadRequest> {
  const spoilt = operationsOf(target).flatMap(({ method, path, headers: key, ...operation }) =>
    Object.entries(BODY_FAULTS).map(([fault, make]) =>
      make({ method, path, headers: key, ...operation })?.map(({ body, statuses = [400], headers = {} }) => ({
        fault,
        method,
        path,
        headers: { ...key, "content-type": "application/json", ...headers },
        body,
        statuses,
      })),
    ),
  );
  return fc.oneof(...spoilt.filter((it) => it !== undefined));
}

/** Keys that do not stand, before any operation with a body that may be whatever it likes. */
function keyFaults(target: Target): fc.Arbitrary<BadRequest> {
  const spoilt = (apiKey: string) => {
    const at = fc.integer({ min: 0, max: apiKey.length - 1 });
    return fc.oneof(
      fc.constant(undefined),
      fc.string({ unit: fc.constantFrom(..."cyc_live0123456789abcdef"), maxLength: 400 }),
      at.map((end) => apiKey.slice(0, end)),
      at.map(
        (index) => apiKey.slice(0, index) + (apiKey[index] === "0" ? "1" : "0") + apiKey.slice(index + 1),
      ),
      fc.constant(`${apiKey}0`),
    );
  };
  return fc.constantFrom(...operationsOf(target)).chain(({ method, path, body, headers }) =>
    fc.oneof(
      ...Object.entries(headers).map(([field, key]) =>
        spoilt(key).map((it) => ({
          fault: "a key that does not stand",
          method,
          path,
          headers: { ...(it === undefined ? {} : { [field]: it }), "content-type": "application/json" },
          ...text(body),
          statuses: [401],
        })),
      ),
    ),
  );
}

/** Routes, methods, ids and queries. */
function addressFaults(target: Target): fc.Arbitrary<BadRequest> {
  const headers = { "x-cycles-api-key": target.apiKey };
  const get = (fault: string, path: string, ...statuses: number[]): BadRequest => ({
    fault,
    method: "GET",
    path,
    headers,
    statuses,
  });
  const segment = fc.string({ minLength: 1, maxLength: 60 }).map(encodeURIComponent);
  const id = fc.string({
    unit: fc.constantFrom(..."abcdefghijkmnpqrstuvwxyzABCDEFGH123456789_~-"),
    minLength: 1,
  });
  const posted = (path: string, body: Json) => ({
    method: "POST",
    path,
    headers: { ...headers, "content-type": "application/json" },
    body: utf8(JSON.stringify(body)),
  });
  const settle = fc.constantFrom<[string, Json]>(
    ["commit", { idempotency_key: "k", actual: { unit: "TOKENS", amount: 1 } }],
    ["release", { idempotency_key: "k" }],
    ["extend", { idempotency_key: "k", extend_by_ms: 1 }],
  );
  return fc.oneof(
    segment.map((it) => get("an unknown route", `/v1/x-${it}`, 404)),
    fc
      .constantFrom("PUT", "DELETE", "PATCH")
      .chain((method) =>
        fc
          .constantFrom(
            "/v1/reservations",
            "/v1/decide",
            "/v1/balances",
            `/v1/reservations/${target.reservationId}`,
          )
          .map((path) => ({ fault: "a wrong method", method, path, headers, statuses: [405] })),
      ),
    fc.tuple(id, settle).map(([it, [verb, body]]) => ({
      fault: "an id that was never issued",
      ...posted(`/v1/reservations/${it.slice(0, 100)}~/${verb}`, body),
      statuses: [404],
    })),
    settle.map(([verb, body]) => ({
      fault: "another tenant's id",
      ...posted(`/v1/reservations/${target.foreignReservationId}/${verb}`, body),
      statuses: [403],
    })),
    fc
      .integer({ min: 129, max: 2000 })
      .map((length) => get("an id too long", `/v1/reservations/${"a".repeat(length)}`, 400)),
    fc
      .constantFrom("0", "-1", "201", "1.5", "x", "1e9", "٣", "9".repeat(400))
      .map((limit) =>
        get(
          "a limit that is none",
          `/v1/balances?tenant=${target.tenant}&limit=${encodeURIComponent(limit)}`,
          400,
        ),
      ),
    fc
      .string({ minLength: 1, maxLength: 200 })
      .map((cursor) =>
        get(
          "a cursor that was never given",
          `/v1/reservations?tenant=${target.tenant}&cursor=~${encodeURIComponent(cursor)}`,
          400,
        ),
      ),
    fc
      .constantFrom(
        "status=OPEN",
        "sort_by=colour",
        "sort_dir=up",
        "from=yesterday",
        "from=2030-01-01T00:00:00Z&to=2020-01-01T00:00:00Z",
      )
      .map((query) => get("a filter that is none", `/v1/reservations?tenant=${target.tenant}&${query}`, 400)),
    fc.constant(get("no level", "/v1/balances", 400)),
    fc
      .constantFrom("/v1/balances", "/v1/reservations")
      .map((path) => get("another tenant", `${path}?tenant=${target.foreignTenant}`, 403)),
    fc.constantFrom("reservations", "decide").map((path) => ({
      fault: "another tenant's subject",
      ...posted(`/v1/${path}`, {
        idempotency_key: "k",
        subject: { tenant: target.foreignTenant },
        action: { kind: "k", name: "n" },
        estimate: { unit: "TOKENS", amount: 1 },
      }),
      statuses: [403],
    })),
  );
}

/** `count` bad requests; the same seed gives the same ones. */
export function badRequests(target: Target, seed: number, count: number): BadRequest[] {
  const any = fc.oneof(
    { weight: 6, arbitrary: bodyFaults(target) },
    { weight: 1, arbitrary: keyFaults(target) },
    { weight: 3, arbitrary: addressFaults(target) },
    { weight: 2, arbitrary: adminAddressFaults(target) },
  );
  const noisy = fc.tuple(any, noise).map(([request, extra]) => ({
    ...request,
    headers: { ...extra, ...request.headers },
  }));
  return fc.sample(noisy, { seed, numRuns: count });
}
