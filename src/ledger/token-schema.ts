// The wire shapes of tokens: what asks for one, and what is told of one. Invariant: as schema.ts; an amount is never left out
// to mean "all", and 0 is zero. Not part of the protocol. Who may call: the operations on tokens, and the host that signs.

import * as v from "valibot";
import { filter } from "./admin-schema.ts";
import { LIMITS } from "./limits.ts";
import { type Permission, TOKEN_PERMISSIONS } from "./permissions.ts";
import {
  type Amount,
  type AmountInput,
  amount,
  closed,
  integer,
  nonBlank,
  note,
  origin,
  pageLimit,
} from "./schema.ts";

const ttlMs = v.optional(integer(LIMITS.tokenTtlMsMin, LIMITS.tokenTtlMsMax));

function someOf<T extends v.GenericSchema<unknown, string>>(entry: T, entriesMax: number) {
  const rule = `must have 1 to ${entriesMax} entries`;
  return v.optional(
    v.pipe(v.array(entry, "must be an array"), v.minLength(1, rule), v.maxLength(entriesMax, rule)),
  );
}

const members = {
  cap: amount,
  max_per_operation: v.optional(amount),
  permissions: someOf(
    v.picklist(TOKEN_PERMISSIONS, `must be one of ${TOKEN_PERMISSIONS.join(", ")}`),
    TOKEN_PERMISSIONS.length,
  ),
  allowed_origins: someOf(origin, LIMITS.tokenOriginsMax),
  ttl_ms: ttlMs,
  name: v.optional(nonBlank(LIMITS.tokenNameLengthMax)),
};

const scope = v.string("must be a string");

export const tokenSchema = closed({ scope, ...members });

/** The same for one that is narrowed: what is left out is as its parent's. */
export const attenuateSchema = closed({ scope: v.optional(scope), ...members });

export const renewTokenSchema = closed({ ttl_ms: ttlMs });

export const revokeTokenSchema = v.object({ reason: v.optional(note(LIMITS.reasonLengthMax)) });

const TOKEN_STATUSES = ["ACTIVE", "REVOKED", "EXPIRED"] as const;

export const tokenListSchema = v.object({
  status: filter(v.picklist(TOKEN_STATUSES, `must be one of ${TOKEN_STATUSES.join(", ")}`)),
  limit: pageLimit(LIMITS.adminPageRowsMax),
  cursor: filter(v.string()),
});

export type TokenRequest = v.InferOutput<typeof attenuateSchema>;

/** A new token. `scope` with everything below it; permissions as the issuer's by default, 15 minutes unless said. */
export interface TokenInput {
  readonly scope: string;
  /** The most that may ever be spent with it, tokens narrowed from it included. 0 is zero. */
  readonly cap: AmountInput;
  readonly max_per_operation?: AmountInput;
  readonly permissions?: readonly (typeof TOKEN_PERMISSIONS)[number][];
  readonly allowed_origins?: readonly string[];
  readonly ttl_ms?: number;
  readonly name?: string;
}

/** A narrower token. What is left out is as its parent's. */
export interface AttenuateInput extends Omit<TokenInput, "scope"> {
  readonly scope?: string;
}

export interface TokenQuery {
  readonly status?: (typeof TOKEN_STATUSES)[number];
  readonly limit?: number | string;
  readonly cursor?: string;
}

/** What a token is, and where its cap stands. */
export interface TokenBody {
  readonly token_id: string;
  readonly tenant_id: string;
  readonly status: (typeof TOKEN_STATUSES)[number];
  readonly scope: string;
  readonly permissions: readonly Permission[];
  readonly cap: Amount;
  readonly spent: Amount;
  readonly reserved: Amount;
  readonly remaining: Amount;
  readonly max_per_operation?: Amount;
  readonly allowed_origins?: readonly string[];
  readonly name?: string;
  /** The tokens it was narrowed from, the first one first. */
  readonly ancestors: readonly string[];
  /** The key that issued the first of them. */
  readonly key_id?: string;
  readonly created_at_ms: number;
  readonly expires_at_ms: number;
  readonly revoked_at_ms?: number;
}

/** A token with its text, which is shown when it is made or renewed and stored nowhere. */
export interface IssuedTokenBody extends TokenBody {
  readonly token: string;
}

export interface TokenListBody {
  readonly tokens: readonly TokenBody[];
  readonly next_cursor?: string;
  readonly has_more: boolean;
}
