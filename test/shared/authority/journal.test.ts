// The journal in memory does what every journal does.

import { MemoryJournal } from "purser/client";
import { journalContract } from "../../support/journal-contract.ts";

journalContract("in memory", async () => {
  const journal = new MemoryJournal();
  return () => journal;
});
