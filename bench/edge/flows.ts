// What one client does over and over: a list of requests, each of which may need the answer to the one before.
// Pure. Amounts are fixed, so that the ledger's figures follow from the numbers of answers alone.
// Called by load.ts (to make the requests) and by ledger-check.ts (for the amounts).

export const RESERVE_TOKENS = 10;
export const COMMIT_TOKENS = 7;
export const EVENT_TOKENS = 3;

export interface Account {
  readonly tenant: string;
  readonly apiKey: string;
}

export interface Ask {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: string;
}

/** One request of a flow. `id` is unique in the run; `reservation` is what the step before gave, or one of the stock. */
export type Step = (account: Account, id: string, reservation: string) => Ask;

export interface Flow {
  readonly name: string;
  /** Which server is asked. */
  readonly server: "empty" | "authority";
  readonly steps: readonly Step[];
  /** Whether what is reserved is kept for a later flow, or taken from what an earlier one kept. */
  readonly stock?: "fill" | "drain";
}

/** What an answered step did to the ledger. */
export type Operation = "reserve" | "commit" | "event" | "nothing";

const emptyWorker: Step = () => ({ method: "GET", path: "/" });
const emptyObject: Step = ({ tenant }) => ({ method: "GET", path: `/${tenant}` });

const reserve: Step = ({ tenant }, id) => ({
  method: "POST",
  path: "/v1/reservations",
  body: `{"idempotency_key":"${id}","subject":{"tenant":"${tenant}"},"action":{"kind":"llm.completion","name":"bench"},"estimate":{"unit":"TOKENS","amount":${RESERVE_TOKENS}},"ttl_ms":3600000}`,
});

const commit: Step = (_, id, reservation) => ({
  method: "POST",
  path: `/v1/reservations/${reservation}/commit`,
  body: `{"idempotency_key":"c-${id}","actual":{"unit":"TOKENS","amount":${COMMIT_TOKENS}}}`,
});

const decide: Step = ({ tenant }, id) => ({
  method: "POST",
  path: "/v1/decide",
  body: `{"idempotency_key":"d-${id}","subject":{"tenant":"${tenant}"},"action":{"kind":"llm.completion","name":"bench"},"estimate":{"unit":"TOKENS","amount":${RESERVE_TOKENS}}}`,
});

const event: Step = ({ tenant }, id) => ({
  method: "POST",
  path: "/v1/events",
  body: `{"idempotency_key":"e-${id}","subject":{"tenant":"${tenant}"},"action":{"kind":"llm.completion","name":"bench"},"actual":{"unit":"TOKENS","amount":${EVENT_TOKENS}}}`,
});

/** In the order of a round: what fills the stock comes before what drains it. */
export const FLOWS: readonly Flow[] = [
  { name: "empty Worker", server: "empty", steps: [emptyWorker] },
  { name: "empty object RPC", server: "empty", steps: [emptyObject] },
  { name: "reserve", server: "authority", steps: [reserve], stock: "fill" },
  { name: "commit", server: "authority", steps: [commit], stock: "drain" },
  { name: "reserve + commit", server: "authority", steps: [reserve, commit] },
  { name: "decide", server: "authority", steps: [decide] },
  { name: "event", server: "authority", steps: [event] },
];

export function operationOf(step: Step): Operation {
  if (step === reserve) return "reserve";
  if (step === commit) return "commit";
  return step === event ? "event" : "nothing";
}
