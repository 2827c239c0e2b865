// Tries the client of docs/authentication.md, which is in the working folder.
import { deepStrictEqual } from "node:assert";
import { readFileSync } from "node:fs";

const { Client, Refused } = await import(`${process.cwd()}/client.mjs`);
const answers = new Client(`http://127.0.0.1:${process.argv[2]}`, "a key");

/** How a call ends, and how many requests it took. */
async function status(method, path, options) {
  let end = 200;
  await answers.call(method, path, options).catch((error) => {
    end = error instanceof Refused ? error.status : null;
  });
  return [end, (await answers.call("GET", "/asked")).body];
}

const expected = [
  ["GET", "/elsewhere", {}, 302, { "/elsewhere": 1 }], // and nobody got the key at the other place
  ["GET", "/busy", {}, 200, { "/busy": 2 }],
  ["POST", "/busy", {}, 503, { "/busy": 1 }],
  ["POST", "/busy", { once: "one" }, 200, { "/busy": 2 }],
  ["GET", "/cut", {}, 200, { "/cut": 2 }],
  ["POST", "/cut", {}, null, { "/cut": 1 }],
  ["GET", "/away", {}, 503, { "/away": 3 }],
  ["GET", "/later", {}, 429, { "/later": 1 }],
  ["GET", "/proxy", {}, 502, { "/proxy": 1 }],
];
for (const [method, path, options, end, asked] of expected) {
  deepStrictEqual(await status(method, path, options), [end, asked], `${method} ${path}`);
}

const slow = new Client(process.argv[3], readFileSync("slow.key", "utf8").trim());
for (let left = 3; left > 0; left -= 1) { // of a key with one request a second
  for await (const row of slow.rows("/keys")) deepStrictEqual(row.name, "slow");
}
const operator = new Client(process.argv[3], readFileSync("operator.key", "utf8").trim());
const ids = async (filters) => {
  const found = [];
  for await (const row of operator.rows("/organizations", filters)) found.push(row.id);
  return found;
};
const byPages = await ids({ limit: 1 });
if (byPages.length < 3) throw new Error("there are more organizations");
deepStrictEqual(byPages, await ids({}));
if (JSON.stringify(slow).includes("key_live")) throw new Error("printing a client shows its key");
console.log("JavaScript: all answers are handled");
