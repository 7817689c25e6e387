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

export function permits(held: readonly Permission[], needed: Permission): boolean {
  if (held.includes(needed)) return true;
  if (needed.endsWith(":write")) return held.includes("admin:write");
  return needed.endsWith(":read") && held.includes("admin:read");
}
