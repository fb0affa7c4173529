/** A program or file that must be there, and the package of Debian that has it. */
export interface Needed {
  /** Any of these paths will do. */
  readonly anyOf: readonly string[];
  readonly package: string;
}

/**
 * Sees to it that all is there, on Debian and its kin by installing packages.
 *
 * @param report is given lines of progress.
 * @throws {Error} that says what is missing, and what to do.
 */
export async function ensurePackages(
  needed: readonly Needed[],
  report: (line: string) => void,
): Promise<void> {
  const packages = await missingPackages(needed);
  if (packages.length === 0) return;
  report(`Installing ${packages.join(", ")}`);
  const said = await apt("update") ?? await apt("install", "--yes", "--no-install-recommends", ...packages);
  const still = await missingPackages(needed);
  if (still.length > 0) {
    throw new Error(
      `Missing what Debian has in ${still.join(", ")}, and it could not be installed: install it by hand. ${
        said ?? ""
      }`
        .trim(),
    );
  }
}

/** The packages of what is not there. */
async function missingPackages(needed: readonly Needed[]): Promise<string[]> {
  const packages: string[] = [];
  for (const { anyOf, package: name } of needed) {
    const found = await Promise.all(anyOf.map((path) => Deno.stat(path).then(() => true, () => false)));
    if (!found.includes(true)) packages.push(name);
  }
  return packages;
}

/** Returns the end of what it said if it failed. */
async function apt(...args: string[]): Promise<string | undefined> {
  try {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    const { success, stderr } = await new Deno.Command("apt-get", { args, env, stdin: "null" }).output();
    return success ? undefined : new TextDecoder().decode(stderr).trim().slice(-2_000);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "There is no apt-get here.";
    throw error;
  }
}
