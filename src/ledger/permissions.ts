// What an API key may do. Invariant: a permission is one of the protocol's closed list; `admin:write` satisfies every
// `*:write` and `admin:read` every `*:read`, literally, so neither gives a right to `reservations:*`.
// Who may call: schema (to validate), the core (to decide).

export const PERMISSIONS = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:extend",
  "reservations:list",
  "balances:read",
  "budgets:read",
  "budgets:write",
  "policies:read",
  "policies:write",
  "webhooks:read",
  "webhooks:write",
  "events:read",
  "admin:read",
  "admin:write",
  "admin:tenants:read",
  "admin:tenants:write",
  "admin:budgets:read",
  "admin:budgets:write",
  "admin:policies:read",
  "admin:policies:write",
  "admin:apikeys:read",
  "admin:apikeys:write",
  "admin:webhooks:read",
  "admin:webhooks:write",
  "admin:events:read",
  "admin:audit:read",
] as const;

export type Permission = (typeof PERMISSIONS)[number];

/**
 * What a key gets when its maker names no permissions: the governance plane's default set. It includes
 * `budgets:write`, so its holder can fund itself; give agents the reservation permissions and `balances:read` only.
 */
export const DEFAULT_PERMISSIONS: readonly Permission[] = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:extend",
  "reservations:list",
  "balances:read",
  "budgets:read",
  "budgets:write",
  "policies:read",
  "policies:write",
];

/** What a token may carry: asking for budget and settling it, nothing that makes, funds or governs one. */
export const TOKEN_PERMISSIONS = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:extend",
  "reservations:list",
  "balances:read",
] as const satisfies readonly Permission[];

export function permits(held: readonly Permission[], needed: Permission): boolean {
  if (held.includes(needed)) return true;
  if (needed.endsWith(":write")) return held.includes("admin:write");
  return needed.endsWith(":read") && held.includes("admin:read");
}

const LIFECYCLE = [
  "reservations:create",
  "reservations:commit",
  "reservations:release",
  "reservations:extend",
] as const;

/**
 * What a console may show or offer, and the permissions of which any one gives it to a tenant's key. Frozen by the
 * protocol; an empty list is the operator's alone. @see Cycles governance, AuthIntrospectResponse
 */
const CAPABILITY_PERMISSIONS = {
  view_overview: [],
  view_budgets: ["budgets:read", "admin:read", "admin:budgets:read"],
  view_events: ["events:read", "admin:read", "admin:events:read"],
  view_webhooks: ["webhooks:read", "admin:read", "admin:webhooks:read"],
  view_audit: [],
  view_tenants: [],
  view_api_keys: [],
  view_policies: ["policies:read", "admin:read", "admin:policies:read"],
  view_reservations: ["reservations:list", ...LIFECYCLE, "admin:read"],
  manage_budgets: ["budgets:write", "admin:write", "admin:budgets:write"],
  manage_policies: ["policies:write", "admin:write", "admin:policies:write"],
  manage_webhooks: ["webhooks:write", "admin:write", "admin:webhooks:write"],
  manage_tenants: [],
  manage_api_keys: [],
  manage_reservations: [...LIFECYCLE, "admin:write"],
} as const satisfies Record<string, readonly Permission[]>;

export type Capabilities = { readonly [Name in keyof typeof CAPABILITY_PERMISSIONS]: boolean };

/** The capabilities of a tenant's key; without permissions to look at, an operator's: all of them. */
export function capabilitiesOf(permissions: readonly Permission[] | undefined): Capabilities {
  const flags = Object.entries(CAPABILITY_PERMISSIONS).map(([name, givers]) => [
    name,
    permissions === undefined || givers.some((giver) => permissions.includes(giver)),
  ]);
  return Object.fromEntries(flags) as Capabilities;
}
