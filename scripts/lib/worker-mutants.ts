// Runs the tests of the Durable Object over one of its mutants at a time. Invariant: the sources are never touched, the
// test runner changes the text as it loads the file. Called by simulate.ts.
import { WORKER_MUTANTS } from "../../test/workerd/mutants.ts";
import { runTool } from "./project.ts";

/** What knows groups, the store and its transactions, the quickest first. */
const TESTS = [
  "test/shared/ledger/rates.test.ts",
  "test/workerd/group-commit.test.ts",
  "test/workerd/sqlite-store.test.ts",
  "test/workerd/simulation.test.ts",
  "test/workerd/mixed-groups.test.ts",
];

export interface CaughtMutant {
  readonly name: string;
  readonly rule: string;
  /** The file of the first test that failed; none where the mutant survived. */
  readonly caughtBy: readonly string[];
}

/** Plays every mutant against these tests until one fails, one mutant after another. */
export async function* catchWorkerMutants(signal: AbortSignal): AsyncIterable<CaughtMutant> {
  for (const { name, rule } of WORKER_MUTANTS) {
    const ended = await runTool("vitest/vitest.mjs", ["run", "--project", "workerd", "--bail=1", ...TESTS], {
      output: "collect",
      signal,
      env: { PURSER_MUTANT: name, NO_COLOR: "1" },
    });
    if (signal.aborted) return;
    const caughtBy = TESTS.filter((file) => new RegExp(`^.*FAIL.*${file}`, "m").test(ended.output));
    if (!ended.ok && caughtBy.length === 0) throw new Error(`mutant ${name} does not run:\n${ended.output}`);
    yield { name, rule, caughtBy };
  }
}
