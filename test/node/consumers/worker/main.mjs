// A consumer in a Worker, bundled by wrangler: the plan comes as a request, the result is the answer.

import { spend } from "./spend.mjs";

export default {
  async fetch(request) {
    return Response.json(await spend(await request.json()));
  },
};
