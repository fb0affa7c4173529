import type { ClusterNode, NodeRecord } from "./node.ts";

const RECORD = "node.json";
const KUBECONFIG = "node.kubeconfig.yaml";
const KUBECTL = "kubectl";

/** The node that was left running; undefined if there is none, or it has ended meanwhile. */
export async function readNodeRecord(directory: string): Promise<NodeRecord | undefined> {
  const text = await Deno.readTextFile(`${directory}/${RECORD}`).catch(undefinedIfNotFound);
  if (text === undefined) return undefined;
  const record: NodeRecord = JSON.parse(text);
  const runs = await Promise.all(
    record.pids.map(async (pid) => {
      const commandLine = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
      return commandLine.includes(record.dir);
    }),
  );
  return runs.every(Boolean) ? record : undefined;
}

/** Notes what runs, and leads to it from the directory. */
export async function writeNodeRecord(directory: string, node: ClusterNode): Promise<void> {
  await Deno.mkdir(directory, { recursive: true });
  await removeNodeRecord(directory);
  await Deno.writeTextFile(`${directory}/${RECORD}`, JSON.stringify(node.record, null, 2) + "\n");
  await Deno.symlink(node.kubeconfig, `${directory}/${KUBECONFIG}`);
  // That of another cluster does as well.
  await Deno.symlink(node.kubectl, `${directory}/${KUBECTL}`).catch((error) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  });
}

/**
 * Forgets what was noted.
 *
 * @throws {Error} if a file is where our link would be: it is somebody else's.
 */
export async function removeNodeRecord(directory: string): Promise<void> {
  const link = `${directory}/${KUBECONFIG}`;
  const info = await Deno.lstat(link).catch(undefinedIfNotFound);
  if (info !== undefined && !info.isSymlink) throw new Error(`${link} is not a link: move it elsewhere`);
  for (const file of [`${directory}/${RECORD}`, link]) await Deno.remove(file).catch(undefinedIfNotFound);
}

function undefinedIfNotFound(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
