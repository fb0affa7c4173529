/**
 * How long the key stores of this machine's CA certificates take to encode, and how much memory what encodes them costs. Prints
 * Markdown for README.md.
 */
import { readPem } from "../lib/certs/pem.ts";
import { pemOf } from "../lib/certs/pem_of.ts";
import { poolOf } from "../lib/certs/pool.ts";
import type { KeyStoreOptions } from "../lib/formats/encode_key_store.ts";

const SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const RUNS = 31;

const STORES: readonly (readonly [name: string, options: KeyStoreOptions])[] = [
  ["JKS", { format: "jks", password: "changeit" }],
  ["PKCS#12 without password", { format: "pkcs12", password: "" }],
  ["PKCS#12 LegacyRC2", { format: "pkcs12", password: "changeit", profile: "LegacyRC2" }],
  ["PKCS#12 LegacyDES", { format: "pkcs12", password: "changeit", profile: "LegacyDES" }],
  ["PKCS#12 Modern2023", { format: "pkcs12", password: "changeit", profile: "Modern2023" }],
];

/** Milliseconds of the first run, and the median of those after it. */
function timed(work: () => unknown): { first: number; median: number } {
  const times = Array.from({ length: RUNS + 1 }, () => {
    const start = performance.now();
    work();
    return performance.now() - start;
  });
  const [first = NaN, ...later] = times;
  return { first, median: later.sort((a, b) => a - b)[RUNS >> 1] ?? NaN };
}

const residentMegabytes = () => Deno.memoryUsage().rss / 1e6;

async function main(): Promise<void> {
  const reading = readPem(await Deno.readFile(SYSTEM_BUNDLE));
  if (!reading.ok) throw new Error(`Cannot read ${SYSTEM_BUNDLE}: ${reading.error}`);
  const pool = poolOf([reading.certificates], {}).certificates;

  // Memory first: timing makes garbage.
  const memory: [what: string, megabytes: number][] = [["certificates read", residentMegabytes()]];
  const { createHash } = await import("node:crypto");
  memory.push(["`node:crypto` loaded", residentMegabytes()]);
  const { encodeKeyStore } = await import("../lib/formats/encode_key_store.ts");
  memory.push(["encoder loaded", residentMegabytes()]);
  const sizes = STORES.map(([, options]) => encodeKeyStore(pool, options).length);
  memory.push(["each store made once", residentMegabytes()]);

  const yardstick = timed(() => {
    const hash = createHash("sha256");
    for (const { der } of pool) hash.update(der);
    hash.digest();
  });
  const rows = STORES.map(([name, options], i) =>
    [name, sizes[i] ?? 0, timed(() => encodeKeyStore(pool, options))] as const
  );
  const pem = timed(() => pemOf(pool));

  console.log(
    `${pool.length} certificates, Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} cores\n`,
  );
  console.log("| Format | Bytes | First, ms | Median, ms | Times SHA-256 |\n| --- | --- | --- | --- | --- |");
  for (
    const [name, size, { first, median }] of [
      ["SHA-256 of all of them (the yardstick)", 32, yardstick],
      ["PEM", pemOf(pool).length, pem],
      ...rows,
    ] as const
  ) {
    const ratio = (median / yardstick.median).toFixed(1);
    console.log(`| ${name} | ${size} | ${first.toFixed(1)} | ${median.toFixed(2)} | ${ratio} |`);
  }
  console.log("\n| Memory after | RSS, MB | More, MB |\n| --- | --- | --- |");
  memory.forEach(([what, megabytes], i) => {
    const more = i === 0 ? "" : (megabytes - (memory[i - 1]?.[1] ?? 0)).toFixed(1);
    console.log(`| ${what} | ${megabytes.toFixed(1)} | ${more} |`);
  });
}

if (import.meta.main) await main();
