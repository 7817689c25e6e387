// What a request costs before anybody decides anything: an empty Worker at `/`, an empty method of a Durable Object at
// `/<name>`. Runs in workerd as it is, see empty-server.ts.
import { DurableObject } from "cloudflare:workers";

export class Empty extends DurableObject {
  nothing() {
    return null;
  }
}

// biome-ignore lint/style/noDefaultExport: workerd takes a Worker's handlers from the default export.
export default {
  async fetch(request, env) {
    const name = new URL(request.url).pathname.slice(1);
    if (name !== "") await env.EMPTY.getByName(name).nothing();
    return new Response("{}", { headers: { "content-type": "application/json" } });
  },
};
