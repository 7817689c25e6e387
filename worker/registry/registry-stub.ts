// The way to the one registry of tenants. Typed as what its methods answer, as for the tenants' objects. Who may call: the
// front and the tenants' objects.

import type { Reply, TenantListBody } from "purser/ledger";
import type { Env } from "../env.ts";
import type { RegistryEntry } from "./tenant-registry.ts";

export interface RegistryStub {
  record(entry: RegistryEntry): Promise<void>;
  list(query: object): Promise<Reply<TenantListBody>>;
  idsFrom(tenant: string, rowsMax: number): Promise<string[]>;
}

export function registryOf(env: Env): RegistryStub {
  return env.TENANT_REGISTRY.getByName("tenants") as unknown as RegistryStub;
}
