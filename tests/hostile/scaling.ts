import assert from "node:assert/strict";
import process from "node:process";

/** Twice the input may take this many times as long. Of what takes quadratic time it is 4, of what takes `n log n` 2.1. */
const MOST = 3.5;

/**
 * Fails if `read` takes more than proportional processor time: by the ratio of the times for an input and for one four times as long,
 * never by a time itself. (Not twice as long: what a larger input takes may grow in steps, where memory is got in other ways.) Sizes are
 * made to fit the machine, up to `longest`.
 *
 * @param input makes an input of about that size.
 * @param read must not throw.
 * @param longest the size of the longer input at most.
 * @param shortest an input that takes fewer milliseconds than this to read is made longer, for its time would mostly be chance. Long
 * runs (see property.ts) go up to the longest inputs.
 */
export async function isProportional<T>(
  input: (size: number) => T,
  read: (input: T) => unknown,
  longest: number,
  shortest = 5,
): Promise<void> {
  if (Number(Deno.env.get("HOSTILE_RUNS") ?? 1) > 1) shortest = 1000;
  // Of this process alone, in milliseconds: what others do on the machine makes nothing longer.
  const time = async (value: T): Promise<number> => {
    const before = process.cpuUsage();
    await read(value);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  let size = Math.min(longest / 4, 10_000);
  await time(input(size)); // loads and compiles
  while (size * 8 <= longest && await time(input(size)) < shortest) size *= 2;
  const [small, large] = [input(size), input(4 * size)];
  // The shortest of several, as the collection of garbage only ever makes it longer.
  let [shortSmall, shortLarge] = [Infinity, Infinity];
  for (let attempt = 0; attempt < 8; attempt++) {
    shortSmall = Math.min(shortSmall, await time(small), await time(small));
    shortLarge = Math.min(shortLarge, await time(large));
    if (shortLarge < MOST ** 2 * Math.max(shortSmall, 1)) return;
  }
  assert.fail(`Four times ${size} takes ${shortLarge} ms instead of ${shortSmall} ms`);
}
