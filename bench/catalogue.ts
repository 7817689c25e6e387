// Every group that is measured, in the order of the table. A new row is a contender in a file of groups/; a new group is
// a file there and a line here (and a case in native/ if Rust has an answer too).

import type { Contender, Group } from "./contender.ts";
import { counterGroup } from "./groups/counter.ts";
import { governorGroup } from "./groups/governor.ts";
import { ratesGroup } from "./groups/rates.ts";
import { threadsGroup } from "./groups/threads.ts";
import { tokensGroup } from "./groups/tokens.ts";
import { trackerGroup } from "./groups/tracker.ts";

export const GROUPS: readonly Group[] = [
  counterGroup,
  tokensGroup,
  trackerGroup,
  governorGroup,
  ratesGroup,
  threadsGroup,
];

export function findContender(id: string): Contender {
  const found = GROUPS.flatMap((group) => group.contenders).find((contender) => contender.id === id);
  if (found === undefined) throw new Error(`there is no contender "${id}"`);
  return found;
}
