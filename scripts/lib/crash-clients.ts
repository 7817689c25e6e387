// The clients of the crash rig: they reserve, settle and report, and remember every request with what became of it.
// Invariant: a request is acknowledged (its answer was read) or unknown (no answer came); it is sent again only with the
// same key and body, once the server that may have had it is gone. Called by crash-rig.ts.
import { UserError } from "./user-error.ts";

/** What is sent, and by how much it changes the balance where it is applied. */
export interface Request {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly reserved: number;
  readonly spent: number;
}

export interface Acknowledged {
  readonly request: Request;
  readonly answer: string;
}

export interface Server {
  readonly url: string;
  readonly apiKey: string;
}

/** One server's time from its start to its kill, as the clients see it. */
export interface Life {
  readonly server: Server;
  readonly tenant: string;
  readonly acknowledged: Acknowledged[];
  readonly unknown: Request[];
  /** Requests whose clients leave at the next answer that anybody gets: by then most of them are under way. */
  readonly leaving: Set<AbortController>;
  /** Once true, clients begin nothing new. */
  killed: boolean;
}

const AMOUNT_MAX = 1_000;
const TTL_MS = 3_600_000;
/** Shares of what a client does: reports without a reservation; of its reservations, commits and releases. */
const EVENT_SHARE = 0.2;
const COMMIT_SHARE = 0.6;
const RELEASE_SHARE = 0.2;
/** One request in so many is abandoned by its client while it is under way: nobody else may feel it. */
const ABANDONED_EVERY = 25;

/** The text of a 2xx answer; undefined where no answer came. @throws UserError for any other answer */
export async function send(
  server: Server,
  request: Request,
  signal?: AbortSignal,
): Promise<string | undefined> {
  let status: number;
  let text: string;
  try {
    const response = await fetch(server.url + request.path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-cycles-api-key": server.apiKey },
      body: JSON.stringify(request.body),
      signal: signal ?? null,
    });
    status = response.status;
    text = await response.text();
  } catch {
    return undefined;
  }
  if (status >= 200 && status <= 299) return text;
  throw new UserError(`a request that must succeed was answered ${status}: ${request.path} ${text}`);
}

/** Makes reservations and settles most of them until the life is over. `name` is unique to the client and the life. */
export async function runClient(
  life: Life,
  name: string,
  random: () => number,
  onAnswer: () => void,
): Promise<void> {
  let number = 0;
  const ask = async (request: Request): Promise<string | undefined> => {
    const controller = new AbortController();
    if (number % ABANDONED_EVERY === 0) life.leaving.add(controller);
    const answer = await send(life.server, request, controller.signal);
    life.leaving.delete(controller);
    if (answer === undefined) life.unknown.push(request);
    else {
      life.acknowledged.push({ request, answer });
      for (const other of life.leaving) other.abort();
      onAnswer();
    }
    return answer;
  };
  /** Members that every request has; the key is new with each call. */
  const keyed = (body: Record<string, unknown>) => {
    number += 1;
    return { idempotency_key: `${name}-${number}`, ...body };
  };
  const tokens = (amount: number) => ({ unit: "TOKENS", amount });
  const purpose = { subject: { tenant: life.tenant }, action: { kind: "crash", name: "test" } };

  while (!life.killed) {
    const amount = 1 + Math.floor(random() * AMOUNT_MAX);
    if (random() < EVENT_SHARE) {
      const body = keyed({ ...purpose, actual: tokens(amount) });
      await ask({ path: "/v1/events", body, reserved: 0, spent: amount });
      continue;
    }
    const body = keyed({ ...purpose, estimate: tokens(amount), ttl_ms: TTL_MS });
    const answer = await ask({ path: "/v1/reservations", body, reserved: amount, spent: 0 });
    // Without an answer nobody knows the reservation's id until the request is sent again.
    if (answer === undefined || life.killed) continue;
    const path = `/v1/reservations/${reservationIdOf(answer)}`;
    const fate = random();
    if (fate < COMMIT_SHARE) {
      const actual = Math.floor(random() * (amount + 1));
      const commit = keyed({ actual: tokens(actual) });
      await ask({ path: `${path}/commit`, body: commit, reserved: -amount, spent: actual });
    } else if (fate < COMMIT_SHARE + RELEASE_SHARE) {
      await ask({ path: `${path}/release`, body: keyed({}), reserved: -amount, spent: 0 });
    }
  }
}

function reservationIdOf(answer: string): string {
  const [, id] = /"reservation_id":"([^"]+)"/.exec(answer) ?? [];
  if (id === undefined) throw new UserError(`a reserve was answered without an id: ${answer}`);
  return id;
}
