// The Worker: the HTTP front, and the Durable Object classes that wrangler.toml binds. The only default export here is
// the one the platform asks for.

import { env } from "cloudflare:workers";
import { createApp } from "./http/app.ts";
import { corsOrigins } from "./http/cors.ts";

export { TenantRegistry } from "./registry/tenant-registry.ts";
export { TenantBudget } from "./tenant/tenant-budget.ts";

// A list that can't be read ends the start, and so already the deployment, instead of every request.
corsOrigins(env as { PURSER_CORS_ORIGINS?: string });

export default createApp();
