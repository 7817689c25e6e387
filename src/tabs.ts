// An entry of its own, `purser/tabs`: several tabs of one origin on one lease. Nobody else carries it.

export {
  TabAuthority,
  type TabAuthorityOptions,
  type TabChannel,
  type TabLocks,
} from "./lease/tab-authority.ts";
