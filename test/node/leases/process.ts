// A holder in a process of its own, told by its environment where the authority is. It prints what it has spent, and in the
// end what it has done. Started by the test.

import process from "node:process";
import { HttpAuthority } from "purser/client";
import { work } from "./work.ts";

const {
  BASE_URL: baseUrl = "",
  API_KEY: apiKey = "",
  HOLDER: holder = "",
  DOOMED: doomed = "",
} = process.env;
const authority = new HttpAuthority({ baseUrl, apiKey, subject: { tenant: "acme" } });
const onSpent = (spent: number): void => {
  process.stdout.write(`spent ${spent}\n`);
};
process.stdout.write(
  `done ${JSON.stringify(await work(authority, { holder, doomed: doomed !== "", onSpent }))}\n`,
);
