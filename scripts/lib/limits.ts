// The numbers of the commands, each with its unit and its reason. Data only; imported by everything in scripts/.

/** Threads of one replay. More than any machine this is run on has cores; past it, start-up is all one measures. */
export const THREADS_MAX = 64;

/** Calls that one thread keeps open at once, so that holds really overlap, as they do in an agent that fans out. */
export const CALLS_IN_FLIGHT = 8;

/**
 * Output tokens reserved per call: the `max_tokens` that a caller would send. 2048 is a usual setting, and the longest
 * answer of the Azure code trace is 1,899 tokens, so a replayed call stays within what a provider would have enforced.
 */
export const OUTPUT_CAP_DEFAULT_TOKENS = 2048;

/** Share of the trace's whole spend that the demo tenant gets, so that the end of the run shows refusals as well. */
export const BUDGET_SHARE_DEFAULT_PERCENT = 80;

/** Processes that lease from the demo tenant. Each has threads of its own; past this, start-up is all one measures. */
export const PROCESSES_MAX = 16;

/**
 * How much the demo budget may owe: without bound, because calls that used more than they reserved have been made, and
 * the authority is to record them all. New leases still find nothing left.
 */
export const DEMO_OVERDRAFT_LIMIT_TOKENS = Number.MAX_SAFE_INTEGER;

/** How long a call waits for tokens of the authority before it is denied: a round trip and some retries. */
export const SUPPLY_WAIT_MS_MAX = 2_000;

/** How long it waits at a time, before it looks whether there is still hope. */
export const SUPPLY_LOOK_MS = 100;

/** A lease's life in the demo, in milliseconds: short, so that what a killed holder had is soon accounted for. */
export const DEMO_LEASE_TTL_MS = 2_000;

/** How long after that the authority reclaims it. */
export const DEMO_LEASE_GRACE_MS = 500;

/** How long the trace takes in chaos, in seconds: long enough for holders to die, come back and lose their line. */
export const CHAOS_SECONDS_DEFAULT = 8;
export const SECONDS_MAX = 3_600;

/** In chaos a holder has at most this part of its share of the budget idle: more calls, and less that dies with it. */
export const CHAOS_SLICES = 32;

/** Of the trace, in chaos: after how many percent something happens, alternating between a kill and a cut line. */
export const CHAOS_EVERY_PERCENT = 12;

/** How long a holder's line stays cut: longer than a lease's life and grace, so that some leases end meanwhile. */
export const CHAOS_CUT_MS = 3_000;

/** Until the authority has reclaimed a lease whose time is over: an alarm that rings a little late. */
export const RECLAIM_SLACK_MS = 5_000;

/** Between two looks at the exposure. */
export const EXPOSURE_EVERY_MS = 50;

/** The sample replayed when no trace is given: large enough to draw several slices, small enough to start at once. */
export const SAMPLE_CALLS = 4000;
export const SAMPLE_SEED = 20_231_116;

export const PORT_DEFAULT = 8787;
export const PORT_MAX = 65_535;

/** Until workerd says it listens. It takes a tenth of a second; a cold disk on a loaded machine takes seconds. */
export const READY_MS_MAX = 30_000;

/** Until a workerd that was asked to stop is ended: it lets requests in flight finish, and one may never do so. */
export const STOP_MS_MAX = 5_000;

/** Until a browser that was started has shown an empty page; slow machines unpack 200 MB from a cold disk first. */
export const BROWSER_START_MS_MAX = 30_000;

/** Between two looks at the replay's progress: fast enough for the eye, too rare to cost anything. */
export const PROGRESS_EVERY_MS = 100;

/** Kills of one crash run: at about a second each, some hours. */
export const KILLS_MAX = 10_000;

/** Seeds are 32 bits wide. */
export const SEED_MAX = 0xffff_ffff;

/** Seeds of a simulation that nobody gave a number: half a minute, and each fault kind thousands of times. */
export const SIMULATION_SEEDS_DEFAULT = 10_000;

/**
 * How long a simulated call takes: reading its prompt and writing its answer, in milliseconds per token. Of the order that
 * large models on one server show; the ratio between policies hardly depends on it, since it is the same for all.
 */
export const PREFILL_MS_PER_TOKEN = 0.063;
export const DECODE_MS_PER_TOKEN = 31;

/** The hard limit of `npm run estimates`: two dozen worst cases, so that neither policy is a matter of one call. */
export const ESTIMATE_LIMIT_DEFAULT_TOKENS = 200_000;

/** The smallest usual context window that holds every call of the Azure code trace, whose longest is 7,841 tokens. */
export const CONTEXT_WINDOW_DEFAULT_TOKENS = 8_192;
