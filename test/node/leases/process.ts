// A holder in a process of its own, told by its environment where the authority is. It prints what it has spent, and in the
// end what it has done. Started by the test.

import process from "node:process";
import { HttpAuthority } from "../../../src/authority/http-authority.ts";
import { work } from "./work.ts";

const { BASE_URL: baseUrl = "", API_KEY: apiKey = "" } = process.env;
const authority = new HttpAuthority({ baseUrl, apiKey, subject: { tenant: "acme" } });
const worked = await work(authority, (spent) => process.stdout.write(`spent ${spent}\n`));
process.stdout.write(`done ${JSON.stringify(worked)}\n`);
