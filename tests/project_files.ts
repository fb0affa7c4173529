/** Path of the checkout, without a slash at its end. */
export const ROOT = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Not part of the project: what is built, kept or hidden. */
const SKIPPED = /^(\..*|bin|dist|coverage|node_modules)$/;

/**
 * The files of the project below `folder`, as paths from the root of the checkout.
 *
 * @param pattern what the path must match.
 */
export async function* filesOf(folder: string, pattern: RegExp): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(`${ROOT}/${folder}`)) {
    const path = folder === "." ? name : `${folder}/${name}`;
    if (SKIPPED.test(name)) continue;
    if (isDirectory) yield* filesOf(path, pattern);
    else if (pattern.test(path)) yield path;
  }
}

/** Reports whether there is a file or folder at `path`. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
