import assert from "node:assert/strict";
import { documentedTable, measuredTable } from "./certificate_table.ts";

/** Cells of all rows, whatever the layout, and lines of text. */
function cells(table: string): string[][] {
  return table.split("\n").filter((line) => line !== "" && !/^[|\s-]+$/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()).filter((cell) => cell !== ""));
}

Deno.test("docs/certificates.md says what this product, Go and OpenSSL make of certificates", async () => {
  let [measured, documented] = [cells(await measuredTable()), cells(await documentedTable())];
  assert.ok(measured.length > 90);
  // Another OpenSSL may be of another opinion.
  if (measured[0]?.join() !== documented[0]?.join()) {
    const withoutOpenssl = (rows: string[][]) => rows.slice(1).map((row) => row.slice(0, 3));
    [measured, documented] = [withoutOpenssl(measured), withoutOpenssl(documented)];
  }
  assert.deepEqual(documented, measured);
});
