import { TenantTokenTracker } from "purser";

const tracker = new TenantTokenTracker(8_000, { name: "tenants" }); // what each tenant may have in flight at once

export async function answer(tenantId: string, model: () => Promise<number>): Promise<number> {
  using reservation = tracker.reserve({ tenantId }, 1_200); // TenantOverloadedError: shed the load
  const tokens = await model();
  reservation.adjust(tokens - 1_200); // from here on it holds what was really used, and gives back exactly that
  return tracker.snapshot().get(tenantId)?.inFlight ?? 0;
}
