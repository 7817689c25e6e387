// A consumer in a page, bundled by Vite: the plan comes with the address, the result goes to `report`.

import { spend } from "./spend.mjs";

const plan = JSON.parse(decodeURIComponent(location.hash.slice(1)));
spend(plan).then(globalThis.report, (error) => globalThis.report({ error: String(error) }));
