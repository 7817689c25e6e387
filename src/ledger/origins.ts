// Keys bound to origins: a key that lives in a page is only good for that page's requests. A browser always says where a
// cross-origin request comes from and its pages cannot lie about it; anyone else can, so this bounds what other people's
// pages can do with a key they found, and nothing more. Pure. Who may call: the core, for every call by a key or a token; the
// HTTP front, for the origins a deployment names.

import { type Refusal, refuse } from "./codes.ts";
import type { ApiKeyRecord, TokenRecord } from "./store.ts";

/** Whether a text is one http(s) origin exactly as a browser writes it in its header; no pattern, and not `null`. */
export function isWebOrigin(text: string): boolean {
  if (text.includes("*") || !URL.canParse(text)) return false;
  const { protocol, origin } = new URL(text);
  return (protocol === "https:" || protocol === "http:") && origin === text;
}

/** Refuses a call from an origin that the key is not bound to; also one that names none, which no such page sends. */
export function checkOrigin(
  key: Pick<ApiKeyRecord | TokenRecord, "allowedOrigins">,
  origin: string | undefined,
): Refusal | undefined {
  if (key.allowedOrigins === undefined) return undefined;
  if (origin === undefined)
    return refuse("FORBIDDEN", "The API key is bound to origins, and the request names none");
  return key.allowedOrigins.includes(origin)
    ? undefined
    : refuse("FORBIDDEN", "The API key is not for the origin of this request");
}
