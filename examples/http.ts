// PURSER_URL=http://127.0.0.1:8787 PURSER_API_KEY=cyc_live_acme_… node examples/http.ts
import process from "node:process";
import { chat, connect } from "./client.ts";

const { PURSER_URL = "http://127.0.0.1:8787", PURSER_API_KEY = "" } = process.env;
const authority = connect(PURSER_URL, PURSER_API_KEY);
const model = async () => ({ text: "hello", tokensUsed: 900 }); // yours

console.log(await chat(authority, model));
for (const { scopePath, spent } of await authority.balances({ tenant: "acme" }))
  console.log(scopePath, spent);
