import { anySeed, soak } from "./soak.ts";

// The short form of `deno task soak`. SEED=17 runs that one, MINUTES=10 for so long.
Deno.test("Whatever changes and fails, every target is right at any time, and all is in the end", async () => {
  const seed = Number(Deno.env.get("SEED") ?? anySeed());
  const minutes = Number(Deno.env.get("MINUTES") ?? 2);
  await soak({ seed, minutes, report: (line) => console.log(line) });
});
