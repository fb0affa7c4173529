/**
 * Why no node can be started on this machine, for people; undefined if one can: what it needs is installed and built then. Starts
 * nothing that stays.
 */
export async function whyNoNode(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "it takes Linux";
  if (Deno.uid() !== 0) return "it takes root";
  return await canMount() ? undefined : "root may not make namespaces and mounts here";
}

/** Tries what containers that are no machines themselves forbid. */
async function canMount(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("unshare", {
      args: ["--net", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "none", "/run"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

if (import.meta.main) console.log(await whyNoNode() ?? "A node can be started");
