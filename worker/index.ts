// The Worker: the HTTP front, and the Durable Object class that wrangler.toml binds. The only default export here is
// the one the platform asks for.

import { createApp } from "./http/app.ts";

export { TenantBudget } from "./tenant/tenant-budget.ts";

export default createApp();
