const ROOT = "/sys/fs/cgroup";

/** Makes a control group in every hierarchy that there is, for cgroup v1 and v2. `path` is that below the root. */
export async function makeCgroups(path: string): Promise<void> {
  for (const hierarchy of await hierarchies()) await Deno.mkdir(`${hierarchy}${path}`, { recursive: true });
}

/**
 * Removes a control group with all below it. The kernel lets go of one only a moment after its last process.
 *
 * @throws {Error} if processes are in it for more than 10 s.
 */
export async function removeCgroups(path: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (const hierarchy of await hierarchies()) {
    while (!await removeFolders(`${hierarchy}${path}`)) {
      if (performance.now() > deadline) {
        throw new Error(`Control groups are still in use: ${hierarchy}${path}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** With v1 there is a folder for each; with v2 there is one for all, which lists its controllers. */
async function hierarchies(): Promise<string[]> {
  const unified = await Deno.stat(`${ROOT}/cgroup.controllers`).then(() => true, () => false);
  if (unified) return [ROOT];
  const folders: string[] = [];
  for (const folder of await subfolders(ROOT)) {
    // Links are other names of the same.
    if (!(await Deno.lstat(folder)).isSymlink) folders.push(folder);
  }
  return folders;
}

/** Whether nothing is left. Files in control groups cannot be removed, and need not be. */
async function removeFolders(path: string): Promise<boolean> {
  for (const folder of await subfolders(path)) {
    if (!await removeFolders(folder)) return false;
  }
  return await Deno.remove(path).then(() => true, (error) => error instanceof Deno.errors.NotFound);
}

async function subfolders(path: string): Promise<string[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(path));
    return entries.filter((entry) => entry.isDirectory).map((entry) => `${path}/${entry.name}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
