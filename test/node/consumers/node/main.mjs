// A consumer in Node: the plan comes as an argument, the result leaves as a line of JSON.

import process from "node:process";
import { spend } from "./spend.mjs";

console.log(JSON.stringify(await spend(JSON.parse(process.argv[2]))));
