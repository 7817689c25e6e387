// What a deployment must provide, and the one place that reads it. Invariant: a missing secret is an answer that names
// the variable, never a crash and never a default. Who may call: the HTTP front and the objects.

import type { TenantRegistry } from "./registry/tenant-registry.ts";
import type { TenantBudget } from "./tenant/tenant-budget.ts";

export interface Env {
  readonly TENANT_BUDGET: DurableObjectNamespace<TenantBudget>;
  readonly TENANT_REGISTRY: DurableObjectNamespace<TenantRegistry>;
  /** The operator's key, for the governance plane. A secret. */
  readonly PURSER_ADMIN_KEY?: string;
  /** What API keys, reservation ids and the keys that sign tokens are derived from. A secret; changing it voids all. */
  readonly PURSER_HASH_SECRET?: string;
  /** Web origins whose pages may call, parted by spaces or commas. Not a secret; none by default. @see corsOrigins */
  readonly PURSER_CORS_ORIGINS?: string;
  /** The secret before the last rotation; keys and ids made with it still count. */
  readonly PURSER_HASH_SECRET_PREVIOUS?: string;
}

export class ConfigError extends Error {
  readonly code = "config_wrong";

  constructor(message: string) {
    super(message);
    this.name = "ConfigError";
  }
}

function missing(variable: string): ConfigError {
  return new ConfigError(`${variable} is not set: give it to the Worker as a secret`);
}

/** The hash secrets, the current one first. @throws ConfigError */
export function hashSecrets(env: Env): string[] {
  if (!env.PURSER_HASH_SECRET) throw missing("PURSER_HASH_SECRET");
  return env.PURSER_HASH_SECRET_PREVIOUS
    ? [env.PURSER_HASH_SECRET, env.PURSER_HASH_SECRET_PREVIOUS]
    : [env.PURSER_HASH_SECRET];
}

/** @throws ConfigError */
export function adminKey(env: Env): string {
  if (!env.PURSER_ADMIN_KEY) throw missing("PURSER_ADMIN_KEY");
  return env.PURSER_ADMIN_KEY;
}
