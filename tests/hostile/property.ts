import fc from "fast-check";

/**
 * How many times as many inputs as usual: `HOSTILE_RUNS=100 deno test --allow-all tests/hostile`. A failure prints its seed;
 * `HOSTILE_SEED` repeats it.
 */
function settings(): { readonly factor: number; readonly seed: number } {
  const { HOSTILE_RUNS = "1", HOSTILE_SEED } = Deno.env.toObject();
  return {
    factor: Number(HOSTILE_RUNS),
    seed: HOSTILE_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(HOSTILE_SEED),
  };
}

/**
 * Fails with the smallest input found for which `holds` throws, and with the seed.
 *
 * @param runs how many inputs to try, usually.
 */
export async function forAll<T>(
  inputs: fc.Arbitrary<T>,
  runs: number,
  holds: (input: T) => void | Promise<void>,
): Promise<void> {
  const { factor, seed } = settings();
  await fc.assert(fc.asyncProperty(inputs, async (input) => await holds(input)), {
    numRuns: runs * factor,
    seed,
  });
}

/** Inputs for an oracle that answers many at once, and what to say if they turn out to be answered otherwise. */
export function samples<T>(
  inputs: fc.Arbitrary<T>,
  runs: number,
): { readonly values: T[]; readonly hint: string } {
  const { factor, seed } = settings();
  return { values: fc.sample(inputs, { numRuns: runs * factor, seed }), hint: `HOSTILE_SEED=${seed}` };
}
