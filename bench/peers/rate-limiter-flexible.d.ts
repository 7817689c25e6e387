// The memory store alone: the package's own entry also loads its stores for servers, which no page and no Worker can.

declare module "rate-limiter-flexible/lib/RateLimiterMemory.js" {
  import { RateLimiterMemory } from "rate-limiter-flexible";
  export default RateLimiterMemory;
}
