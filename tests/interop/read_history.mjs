// Reads {"views": {name: glob}, "queries": {name: sql}} from standard input; prints {name: [rows]}, all values as text.
import { readFileSync } from "node:fs";
import { DuckDBInstance } from "@duckdb/node-api";

const request = JSON.parse(readFileSync(0, "utf8"));
const instance = await DuckDBInstance.create(":memory:", { threads: "2" });
const connection = await instance.connect();
await connection.run("SET TimeZone = 'UTC'");
for (const [name, glob] of Object.entries(request.views)) {
  await connection.run(`CREATE VIEW ${name} AS SELECT * FROM read_parquet('${glob}', filename = true)`);
}
const answers = {};
for (const [name, sql] of Object.entries(request.queries)) {
  const rows = (await connection.runAndReadAll(sql)).getRowObjects();
  answers[name] = rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([column, value]) => [column, value === null ? null : String(value)])));
}
console.log(JSON.stringify(answers));
