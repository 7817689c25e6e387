// What the HTTP suites ask: any front that carries a request to an authority, be it the Worker inside workerd, a real port
// or a proxy before one; and what the suites share in talking to it. Invariant: nothing here knows which front it is.

import { expect } from "vitest";

export interface Sent {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
}

export interface Front {
  readonly adminKey: string;
  /** Whether amounts beyond 2^53 pass unrounded. */
  readonly int64: boolean;
  /** `path` begins with a slash. */
  readonly send: (path: string, sent: Sent) => Promise<Response>;
  /** How many tenants have an object: a stranger's request must not add one. */
  readonly objects: () => Promise<number>;
  /** Works on a tenant's own rows by SQL, where a test can reach them. */
  readonly rows?: (tenant: string, sql: string, ...values: string[]) => Promise<readonly unknown[]>;
}

// biome-ignore lint/suspicious/noExplicitAny: a test reads what the wire says
export type Json = any;
export type Fields = Readonly<Record<string, string>>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Json;
}

export const tokens = (amount: number) => ({ unit: "TOKENS", amount });

/** Status, and of an error its code. */
export function codeOf({ status, json }: Answer): string {
  return status < 300 ? String(status) : `${status} ${json.error}`;
}

/** Status, code and message of an error, after checking the closed body that every error has. */
export function faultOf(answer: Answer): string {
  expect(answer.headers.get("content-type")).toBe("application/json");
  const { error, message, request_id, trace_id, details, ...others } = answer.json;
  expect(others).toEqual({});
  expect(request_id).toBe(answer.headers.get("x-request-id"));
  expect(trace_id).toBe(answer.headers.get("x-cycles-trace-id"));
  expect(details === undefined || typeof details === "object").toBe(true);
  return `${answer.status} ${error} ${message}`;
}

/** As text, so that an amount can be what no number in JavaScript is. */
export function reserveBody(tenant: string, key: string, amount: number | string = 10, rest = ""): string {
  return `{"idempotency_key":"${key}","subject":{"tenant":"${tenant}"},"action":{"kind":"k","name":"n"},"estimate":{"unit":"TOKENS","amount":${amount}}${rest}}`;
}

/** Asks a front, as an operator or with the keys it made. */
export function callerOf(front: Front) {
  const ADMIN: Fields = { "x-admin-api-key": front.adminKey };

  /** A body that is text goes out as it is. */
  const send = async (
    method: string,
    path: string,
    headers: Fields = {},
    body?: unknown,
  ): Promise<Answer> => {
    const response = await front.send(
      path,
      body === undefined
        ? { method, headers }
        : {
            method,
            headers: { "content-type": "application/json", ...headers },
            body: typeof body === "string" ? body : JSON.stringify(body),
          },
    );
    const text = await response.text();
    const json = text === "" ? undefined : JSON.parse(text);
    return { status: response.status, headers: response.headers, text, json };
  };
  const post = (path: string, headers: Fields, body: unknown) => send("POST", path, headers, body);
  const get = (path: string, headers: Fields) => send("GET", path, headers);

  const makeKey = async (tenant: string, rest: object = {}): Promise<Fields> => {
    const answer = await post("/v1/admin/api-keys", ADMIN, { tenant_id: tenant, name: "agent", ...rest });
    expect(answer.status).toBe(201);
    return { "x-cycles-api-key": answer.json.key_secret };
  };
  /** A tenant with one budget, on its own scope, and a key. */
  const makeTenant = async (tenant: string, allocated = "1000", key: object = {}): Promise<Fields> => {
    const made = await post("/v1/admin/tenants", ADMIN, { tenant_id: tenant, name: tenant });
    expect(made.status).toBe(201);
    const budget = `{"tenant_id":"${tenant}","scope":"tenant:${tenant}","unit":"TOKENS","allocated":{"unit":"TOKENS","amount":${allocated}}}`;
    expect((await post("/v1/admin/budgets", ADMIN, budget)).status).toBe(201);
    return makeKey(tenant, key);
  };
  return { ADMIN, send, post, get, makeKey, makeTenant };
}

export type Caller = ReturnType<typeof callerOf>;

/** The keys of two tenants that are there from the beginning. */
export interface Known {
  acme: Fields;
  other: Fields;
}
