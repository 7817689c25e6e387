// Request bodies: one JSON object, read with a hard cap, exact. Invariant: not a byte more than the limit is kept, the
// text is valid UTF-8, and a body key equals its header; a tenant's key that does not stand is a 401 whatever the body.
// Who may call: the handlers of POST routes.

import { type Caller, LEDGER_LIMITS, parseJson, refuse } from "purser/ledger";
import { HttpRefusal, httpRefusal } from "./errors.ts";
import type { TenantStub } from "./tenant-stub.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const JSON_TYPE = /^application\/json(?:\s*;.*)?$/i;

/**
 * The request's JSON. Throws `HttpRefusal`: 415 for another media type or a compressed body, 413 beyond the limit, 400
 * for text that is no JSON, a body that does not come to its end, or an idempotency key that differs from its header.
 */
export async function readBody(request: Request): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  if (!JSON_TYPE.test(type)) {
    throw httpRefusal(
      415,
      "INVALID_REQUEST",
      `content-type must be application/json, got ${JSON.stringify(type)}`,
    );
  }
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity") {
    throw httpRefusal(
      415,
      "INVALID_REQUEST",
      `content-encoding must be identity, got ${JSON.stringify(encoding)}`,
    );
  }
  const parsed = parseJson(decode(await readWhole(request)));
  if (!parsed.ok)
    throw new HttpRefusal(refuse("INVALID_REQUEST", `The body is not acceptable JSON: ${parsed.message}`));
  checkIdempotencyHeader(request.headers, parsed.value);
  return parsed.value;
}

/** The request's JSON where a body may be left out; without one, an empty object. */
export async function readOptionalBody(request: Request): Promise<unknown> {
  const isEmpty = request.body === null || request.headers.get("content-length") === "0";
  return isEmpty ? {} : readBody(request);
}

/**
 * The JSON of a request by a tenant's key. A body that cannot be read says so only to a key that stands; otherwise the
 * object, which checks the key together with every readable request, is asked for the key alone.
 */
export async function readBodyFor(
  budget: TenantStub,
  caller: Caller,
  request: Request,
  read: (request: Request) => Promise<unknown> = readBody,
): Promise<unknown> {
  try {
    return await read(request);
  } catch (error) {
    const key = await budget.checkKey(caller);
    throw key.ok ? error : new HttpRefusal(key);
  }
}

/** Whoever hangs up before the end hears no answer, and is no fault of this side that a log should tell of. */
async function readWhole(request: Request): Promise<Uint8Array> {
  try {
    return await readCapped(request);
  } catch (error) {
    if (error instanceof HttpRefusal) throw error;
    throw httpRefusal(400, "INVALID_REQUEST", "the connection ended before the body was whole");
  }
}

async function readCapped(request: Request): Promise<Uint8Array> {
  const declared = request.headers.get("content-length");
  // A declared length is refused before anything is read. HTTP delivers no more than was declared, so that a short body
  // can be read in one go; the count that holds is of what came.
  if (Number(declared) > LEDGER_LIMITS.bodyBytesMax) throw tooLarge();
  if (declared === null) return readStream(request.body);
  const bytes = new Uint8Array(await request.arrayBuffer());
  if (bytes.length > LEDGER_LIMITS.bodyBytesMax) throw tooLarge();
  return bytes;
}

/** A body of unknown length: nothing is kept beyond the limit. */
async function readStream(body: ReadableStream<Uint8Array> | null): Promise<Uint8Array> {
  const bytes = new Uint8Array(LEDGER_LIMITS.bodyBytesMax);
  let length = 0;
  if (body !== null) {
    const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      if (length + chunk.value.length > bytes.length) {
        await reader.cancel();
        throw tooLarge();
      }
      bytes.set(chunk.value, length);
      length += chunk.value.length;
    }
  }
  return bytes.subarray(0, length);
}

function tooLarge(): HttpRefusal {
  return httpRefusal(
    413,
    "INVALID_REQUEST",
    `The body must be at most ${LEDGER_LIMITS.bodyBytesMax} bytes long`,
  );
}

function decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new HttpRefusal(refuse("INVALID_REQUEST", "The body must be valid UTF-8"));
  }
}

function checkIdempotencyHeader(headers: Headers, body: unknown): void {
  const header = headers.get("x-idempotency-key");
  if (header === null || typeof body !== "object" || body === null) return;
  const key: unknown = Object.hasOwn(body, "idempotency_key")
    ? Reflect.get(body, "idempotency_key")
    : undefined;
  if (key !== undefined && key !== header) {
    const message = "X-Idempotency-Key must equal idempotency_key of the body";
    throw new HttpRefusal(refuse("INVALID_REQUEST", message, { field: "idempotency_key" }));
  }
}
