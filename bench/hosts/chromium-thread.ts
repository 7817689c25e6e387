// One thread of a team in a page: the first message is its membership, every further one a round.

import { createTeamMember, type Membership, type Work } from "../team.ts";

let work: ((roundMs: number) => Work) | undefined;

globalThis.onmessage = ({ data }: MessageEvent<Membership | number>) => {
  if (typeof data !== "number") work = createTeamMember(data);
  else postMessage(work?.(data));
};
