// Each test file finds no tenant, though all of them run in one workerd. Set up by vitest.config.ts before every file of the
// workerd project; nothing else calls it.

import { reset } from "cloudflare:test";
import { beforeAll } from "vitest";

beforeAll(() => reset());
