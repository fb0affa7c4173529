import fc from "fast-check";

/**
 * How many times as many inputs as usual: `HOSTILE_RUNS=100 deno test --allow-all tests/hostile`. These are others in each run, and a
 * failure prints its seed, which `HOSTILE_SEED` repeats. The usual ones are always the same, so that no commit
 * fails by what it did not break.
 */
function settings(): { readonly factor: number; readonly seed: number } {
  const { HOSTILE_RUNS, HOSTILE_SEED } = Deno.env.toObject();
  const seed = HOSTILE_RUNS === undefined ? 1 : Math.floor(Math.random() * 2 ** 31);
  return {
    factor: Number(HOSTILE_RUNS ?? 1),
    seed: HOSTILE_SEED === undefined ? seed : Number(HOSTILE_SEED),
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
