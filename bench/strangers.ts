/**
 * What strangers do to the operator who reach its ports: prints a table of what was seen under each attack of
 * `tests/e2e/strangers.ts`.
 *
 * `deno run -A bench/strangers.ts [--namespaces=1000] [--config-maps=1000] [--seconds=60] [--script=dist/trust-manager.js] [attack]…`
 */
import { parseArgs } from "node:util";
import { SCRIPT } from "../build.ts";
import { ATTACKS, Besieged, quantile } from "../tests/e2e/strangers.ts";

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    "namespaces": { type: "string", default: "1000" },
    "config-maps": { type: "string", default: "1000" },
    "seconds": { type: "string", default: "60" },
    "script": { type: "string", default: SCRIPT },
  },
});

await using besieged = await Besieged.start({
  namespaces: Number(values.namespaces),
  configMaps: Number(values["config-maps"]),
  script: values.script,
});
console.log(
  "| Attack | Lease held | Longest without renewal, s | Admitted | Failed | p50, ms | p99, ms | Probes failed | Peak RSS, MiB |",
);
console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
for (const [name, attacks] of Object.entries(ATTACKS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const seen = await besieged.under(name, attacks, Number(values.seconds));
  const { admissionsMs, failures } = seen;
  console.log(
    `| ${name} | ${seen.led ? "yes" : "no"} | ${
      (seen.unrenewedMs / 1000).toFixed(1)
    } | ${admissionsMs.length} | ` +
      `${failures.length} | ${quantile(admissionsMs, 0.5).toFixed(0)} | ${
        quantile(admissionsMs, 0.99).toFixed(0)
      } | ` +
      `${seen.failedProbes} of ${seen.probes} | ${seen.peakMiB.toFixed(0)} |`,
  );
  for (const failure of new Set(failures)) console.error(`${name}: ${failure.slice(0, 300)}`);
}
