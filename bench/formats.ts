/**
 * How long the key stores of this machine's CA certificates take to encode, and how much memory what encodes them costs. Prints
 * Markdown for README.md.
 */
import { readPem } from "../lib/certs/pem.ts";
import { pemOf } from "../lib/certs/pem_of.ts";
import { poolOf } from "../lib/certs/pool.ts";
import type { KeyStoreOptions } from "../lib/formats/encode_key_store.ts";

const SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
/** How often each format is made, beside the first time. Odd, so that there is a middle. */
const ROUNDS = 51;

const STORES: readonly (readonly [name: string, options: KeyStoreOptions])[] = [
  ["JKS", { format: "jks", password: "changeit" }],
  ["PKCS#12 without password", { format: "pkcs12", password: "" }],
  ["PKCS#12 LegacyRC2", { format: "pkcs12", password: "changeit", profile: "LegacyRC2" }],
  ["PKCS#12 LegacyDES", { format: "pkcs12", password: "changeit", profile: "LegacyDES" }],
  ["PKCS#12 Modern2023", { format: "pkcs12", password: "changeit", profile: "Modern2023" }],
];

/** Work to be timed. */
interface Work {
  readonly name: string;
  /** Size in bytes of what comes out. */
  readonly run: () => number;
}

/** What one piece of work took, in milliseconds. */
interface Timing {
  readonly name: string;
  readonly bytes: number;
  readonly median: number;
}

/** Times all work in turns, so that what else the machine does strikes all alike. */
function timed(works: readonly Work[]): Timing[] {
  const times = works.map((): number[] => []);
  const sizes: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    works.forEach(({ run }, i) => {
      const start = performance.now();
      sizes[i] = run();
      times[i]?.push(performance.now() - start);
    });
  }
  return works.map(({ name }, i) => {
    const [, ...later] = times[i] ?? []; // the first is that of a cold compiler
    return { name, bytes: sizes[i] ?? 0, median: later.sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN };
  });
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
  for (const [, options] of STORES) encodeKeyStore(pool, options);
  memory.push(["each store made once", residentMegabytes()]);

  const timings = timed([
    {
      name: "SHA-256 of all certificates",
      run() {
        const hash = createHash("sha256");
        for (const { der } of pool) hash.update(der);
        return hash.digest().length;
      },
    },
    { name: "PEM", run: () => pemOf(pool).length },
    ...STORES.map(([name, options]) => ({ name, run: () => encodeKeyStore(pool, options).length })),
  ]);
  const yardstick = timings[0]?.median ?? NaN;

  console.log(
    `${pool.length} certificates, Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} cores\n`,
  );
  console.log("| Format | Bytes | Median, ms | Times SHA-256 |\n| --- | --- | --- | --- |");
  for (const { name, bytes, median } of timings) {
    console.log(`| ${name} | ${bytes} | ${median.toFixed(2)} | ${(median / yardstick).toFixed(0)} |`);
  }
  console.log("\n| Memory when | RSS, MB | More, MB |\n| --- | --- | --- |");
  memory.forEach(([when, megabytes], i) => {
    const more = i === 0 ? "" : (megabytes - (memory[i - 1]?.[1] ?? 0)).toFixed(1);
    console.log(`| ${when} | ${megabytes.toFixed(1)} | ${more} |`);
  });
}

if (import.meta.main) await main();
