import { isNodeBuilt } from "../node/build_node.ts";
import { endNode, loadImages, startNode } from "../node/node.ts";
import { whyNoNode } from "../node/why_no_node.ts";
import { findKubectl } from "./build_control_plane.ts";
import { startControlPlane } from "./control_plane.ts";
import { RestClient } from "./rest_client.ts";

/** The cluster that stays when the command that started it has ended. There is one for each checkout. */
export interface RunningCluster {
  /** `bin/kubeconfig.yaml` of the checkout, for an administrator. */
  readonly kubeconfig: string;
  /** `bin/kubectl` of the checkout. */
  readonly kubectl: string;
  /** Whether it is a node of {@linkcode startNode}, with the images that were asked for. */
  readonly isNode: boolean;
  /** Whether it was there before, and is to be left as it was. */
  readonly isUsersOwn: boolean;
  /** What it is, for people: whose cluster, and where. */
  readonly description: string;
}

/** How to bring a cluster up. */
export interface ClusterUpOptions {
  /** A kubeconfig file of a cluster of the user's own, to be used instead of a new one. */
  readonly kubeconfig?: string;
  /** Wants a control plane without nodes, whatever else could be had. */
  readonly bare?: boolean;
  /**
   * Wants a node, where there is no kind, rather than a control plane without nodes. Makes archives of the images that its pods may
   * use in a directory, and returns their paths. They are loaded into a node that is found, too.
   */
  readonly nodeImages?: (directory: string) => Promise<readonly string[]>;
  /** Why no node can be had, for people; undefined if one can. Default {@linkcode whyNoNode}. */
  readonly whyNoNode?: () => Promise<string | undefined>;
  /**
   * YAML that is applied before controllers start (see `ControlPlaneOptions`); not on a node, where a chart brings it, and not to a
   * cluster of the user's own, where it could change what is there.
   */
  readonly manifests?: readonly string[];
  /** Directory for what is kept. Default `bin` in the checkout. */
  readonly directory?: string;
  /** Gives the start up: all that has been started is ended, and the reason thrown. Of no effect once the cluster runs. */
  readonly signal?: AbortSignal;
  /** Is given lines of progress. By default they go to standard error. */
  readonly report?: (line: string) => void;
}

/** What runs is not what was asked for. The message says what to do. */
export class OtherClusterError extends Error {
  override readonly name = "OtherClusterError";
}

/** What `bin/cluster.json` holds. */
type ClusterRecord =
  | { readonly type: "own"; readonly server: string }
  | { readonly type: "kind"; readonly name: string; readonly ca: string }
  | { readonly type: "node"; readonly dir: string; readonly pids: readonly number[] }
  | { readonly type: "control-plane"; readonly dir: string; readonly pids: Readonly<Record<string, number>> };

/**
 * Finds the cluster of this checkout or brings one up: the user's own if `kubeconfig` says so, else one of kind where Docker and kind
 * are there, else a node if `nodeImages` asks for one and it can be had, else a control plane as {@linkcode startControlPlane} makes
 * it.
 *
 * @throws {OtherClusterError} if one runs and another kind of cluster is asked for, or if what is there is not of this checkout: a file
 * where a link is to be, or a kind cluster of that name.
 * @throws what {@linkcode startControlPlane} throws, and the reason of `signal`.
 */
export async function clusterUp(options: ClusterUpOptions = {}): Promise<RunningCluster> {
  const report = options.report ?? ((line) => console.error(line));
  const files = filesIn(options.directory);
  await Deno.mkdir(files.directory, { recursive: true });
  using lock = await Deno.open(files.lock, { create: true, write: true });
  await lock.lock(true);

  const found = await readRecord(files.record);
  if (found !== undefined && found.type !== "own" && options.kubeconfig !== undefined) {
    throw new OtherClusterError(
      `There is ${describe(found)} already: end it first with \`deno task cluster:down\``,
    );
  }
  if (found !== undefined && options.kubeconfig === undefined && await works(files.kubeconfig)) {
    if (options.bare && found.type !== "control-plane") {
      throw new OtherClusterError(
        `There is ${
          describe(found)
        } already: leave out --bare to go on with it, or end it first with \`deno task cluster:down\``,
      );
    }
    if (found.type === "kind" || found.type === "control-plane") await applyAll(files, options);
    else if (found.type === "node" && options.nodeImages !== undefined) {
      await withImages(options.nodeImages, (images) => loadImages(found, images));
    }
    return running(files, found);
  }
  if (found !== undefined) await takeDown(files, found);

  const record = await bringUp(files, options, report).catch(async (error) => {
    await Deno.remove(files.lock);
    throw error;
  });
  try {
    await Deno.writeTextFile(files.record, JSON.stringify(record, null, 2) + "\n");
    if (record.type === "kind") await applyAll(files, options);
    options.signal?.throwIfAborted();
  } catch (error) {
    await takeDown(files, record);
    await Deno.remove(files.lock);
    throw error;
  }
  return running(files, record);
}

/** Decides which one, says so, and starts it. */
async function bringUp(
  files: Files,
  options: ClusterUpOptions,
  report: (line: string) => void,
): Promise<ClusterRecord> {
  const { kubeconfig, bare = false, nodeImages, signal } = options;
  if (kubeconfig !== undefined) return await useOwn(files, kubeconfig, report);
  if (!bare && await kindWorks()) return await startKind(files, report);
  if (!bare && nodeImages !== undefined) {
    const why = await (options.whyNoNode ?? whyNoNode)();
    if (why === undefined) {
      try {
        return await withImages(nodeImages, (images) => startOwnNode(files, images, report, signal));
      } catch (error) {
        signal?.throwIfAborted();
        const lines = (error instanceof Error ? error.message : String(error)).trim().split("\n");
        const said = [...new Set([lines[0], lines.at(-1)])].join(" … ");
        report(`A control plane without nodes, as the node does not start: ${said}`);
      }
    } else report(`A control plane without nodes. For a real node: ${why}`);
  }
  signal?.throwIfAborted();
  return await startOwnControlPlane(files, options, report);
}

/**
 * Ends the cluster that {@linkcode clusterUp} brought up in this checkout, with all that is in it. A cluster of the user's own is only
 * forgotten.
 *
 * @returns what was done, for people; undefined if there was nothing to do.
 */
export async function clusterDown(
  options: Pick<ClusterUpOptions, "directory"> = {},
): Promise<string | undefined> {
  const files = filesIn(options.directory);
  const record = await readRecord(files.record);
  if (record === undefined) return undefined;
  using lock = await Deno.open(files.lock, { create: true, write: true });
  await lock.lock(true);
  const left = await takeDown(files, record);
  await Deno.remove(files.lock);
  if (left !== undefined) return left;
  switch (record.type) {
    case "own":
      return `Forgot the cluster at ${record.server}`;
    case "kind":
      return `Deleted the kind cluster ${record.name}`;
    case "node":
      return "Stopped the node";
    case "control-plane":
      return "Stopped the control plane";
  }
}

/**
 * The kubeconfig file of the cluster of the user's own that this checkout works with since an earlier {@linkcode clusterUp}; undefined if
 * it works with another kind of cluster, or none.
 */
export async function usersOwnKubeconfig(
  options: Pick<ClusterUpOptions, "directory"> = {},
): Promise<string | undefined> {
  const files = filesIn(options.directory);
  const record = await readRecord(files.record);
  return record?.type === "own" ? await Deno.realPath(files.kubeconfig) : undefined;
}

interface Files {
  readonly directory: string;
  readonly kubeconfig: string;
  readonly kubectl: string;
  readonly record: string;
  readonly lock: string;
}

function filesIn(directory = `${import.meta.dirname}/../../bin`): Files {
  const absolute = Deno.build.os === "windows"
    ? directory
    : new URL(directory, `file://${Deno.cwd()}/`).pathname;
  return {
    directory: absolute,
    kubeconfig: `${absolute}/kubeconfig.yaml`,
    kubectl: `${absolute}/kubectl`,
    record: `${absolute}/cluster.json`,
    lock: `${absolute}/cluster.lock`,
  };
}

function running(files: Files, record: ClusterRecord): RunningCluster {
  const { kubeconfig, kubectl } = files;
  const { type } = record;
  return {
    kubeconfig,
    kubectl,
    isNode: type === "node",
    isUsersOwn: type === "own",
    description: describe(record),
  };
}

function describe(record: ClusterRecord): string {
  switch (record.type) {
    case "own":
      return `your own cluster at ${record.server}`;
    case "kind":
      return `the kind cluster ${record.name}`;
    case "node":
      return `a real node that runs pods (state and logs in ${record.dir})`;
    case "control-plane":
      return `a control plane without nodes (state and logs in ${record.dir})`;
  }
}

async function useOwn(
  files: Files,
  kubeconfig: string,
  report: (line: string) => void,
): Promise<ClusterRecord> {
  using admin = await RestClient.fromKubeconfig(kubeconfig);
  await link(await Deno.realPath(kubeconfig), files.kubeconfig);
  await link(await findKubectl(report), files.kubectl);
  return { type: "own", server: admin.config.server };
}

/** Name of the kind cluster of a checkout: that of another checkout, or of anybody else, has another. */
async function kindClusterName({ directory }: Files): Promise<string> {
  const path = new TextEncoder().encode(await Deno.realPath(directory));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", path)).toHex().slice(0, 10);
  return `trust-manager-deno-${hash}`;
}

async function kindWorks(): Promise<boolean> {
  return (await run("kind", ["version"])).success && (await run("docker", ["info"])).success;
}

async function startKind(files: Files, report: (line: string) => void): Promise<ClusterRecord> {
  const name = await kindClusterName(files);
  const { success, stdout, stderr } = await run("kind", ["get", "clusters"]);
  if (!success) throw new Error(`Failed to run kind get clusters:\n${stderr.trim()}`);
  if (stdout.split("\n").includes(name)) {
    throw new OtherClusterError(
      `There is a kind cluster ${name} already, which this checkout has no record of, so it is left as it is. ` +
        `If nobody needs it: kind delete cluster --name ${name}`,
    );
  }
  // kind would add to a file that is there, also behind a link.
  await removeLink(files.kubeconfig);
  const kubectl = await findKubectl(report);
  report(`Creating the kind cluster ${name}`);
  const args = ["create", "cluster", "--name", name, "--kubeconfig", files.kubeconfig, "--wait", "2m"];
  // In a process group of its own: Ctrl-C would end it with half a cluster, which nothing tells of. A creation that fails is cleaned
  // up by kind itself, and by nobody else: a cluster of that name may have come from elsewhere meanwhile.
  const created = await run("kind", args, { detached: true });
  if (!created.success) {
    await Deno.remove(files.kubeconfig).catch(ignoreNotFound);
    throw new OtherClusterError(`Failed to run kind ${args.join(" ")}:\n${created.stderr.trim()}`);
  }
  await link(kubectl, files.kubectl);
  return { type: "kind", name, ca: await clusterCa(files.kubeconfig) };
}

/**
 * Deletes a kind cluster if it is the one that was created here, and not another of the same name: each has a CA of its own.
 *
 * @returns what was done instead, for people; undefined if it was deleted, or was not there any more.
 */
async function deleteKind(
  files: Files,
  { name, ca }: ClusterRecord & { type: "kind" },
): Promise<string | undefined> {
  const clusters = await run("kind", ["get", "clusters"]);
  if (!clusters.success) {
    throw new Error(
      `Failed to run kind get clusters, so the cluster ${name} may be there still:\n${clusters.stderr}`,
    );
  }
  if (!clusters.stdout.split("\n").includes(name)) return undefined;
  const { stdout } = await run("kind", ["get", "kubeconfig", "--name", name]);
  if (caOf(stdout) !== ca) {
    return `Left the kind cluster ${name} as it is: it is not the one that was created here`;
  }
  // The file is named: without it, kind changes the user's own.
  const deleted = await run("kind", ["delete", "cluster", "--name", name, "--kubeconfig", files.kubeconfig]);
  if (!deleted.success) {
    throw new Error(`Failed to delete the kind cluster ${name}:\n${deleted.stderr.trim()}`);
  }
  return undefined;
}

async function clusterCa(kubeconfig: string): Promise<string> {
  return caOf(await Deno.readTextFile(kubeconfig));
}

/** The CA certificate in a kubeconfig of kind, which has but one cluster; empty if there is none. */
function caOf(kubeconfig: string): string {
  return /^\s*certificate-authority-data: *(\S+)/m.exec(kubeconfig)?.[1] ?? "";
}

/** Has images made, uses them, and removes them. */
async function withImages<T>(
  make: NonNullable<ClusterUpOptions["nodeImages"]>,
  use: (images: readonly string[]) => Promise<T>,
): Promise<T> {
  const dir = await Deno.makeTempDir({ prefix: "trust-manager-images-" });
  try {
    return await use(await make(dir));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function startOwnNode(
  files: Files,
  images: readonly string[],
  report: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<ClusterRecord> {
  if (!await isNodeBuilt()) {
    report(
      "A real node: its programs are built first, once, which takes minutes (--bare does without a node)",
    );
  }
  const node = await startNode({
    images,
    outlive: true,
    report,
    ...(signal === undefined ? {} : { signal }),
  });
  node.admin[Symbol.dispose]();
  await link(node.kubeconfig, files.kubeconfig);
  await link(node.kubectl, files.kubectl);
  return { type: "node", ...node.record };
}

async function startOwnControlPlane(
  files: Files,
  options: ClusterUpOptions,
  report: (line: string) => void,
): Promise<ClusterRecord> {
  const controlPlane = await startControlPlane({
    kubeconfig: "",
    outlive: true,
    manifests: options.manifests ?? [],
    report,
  });
  const { dir, admin, own } = controlPlane;
  admin[Symbol.dispose]();
  await link(controlPlane.kubeconfig, files.kubeconfig);
  await link(controlPlane.kubectl, files.kubectl);
  return { type: "control-plane", dir, pids: own?.pids() ?? {} };
}

/** Ends what a record tells of, and forgets it. Returns what was left as it is, for people. */
async function takeDown(files: Files, record: ClusterRecord): Promise<string | undefined> {
  const left = record.type === "kind" ? await deleteKind(files, record) : undefined;
  if (record.type === "node") await endNode(record);
  if (record.type === "control-plane") {
    for (const pid of Object.values(record.pids)) await endOwn(pid, record.dir);
    await Deno.remove(record.dir, { recursive: true }).catch(ignoreNotFound);
  }
  if (record.type === "kind") await Deno.remove(files.kubeconfig).catch(ignoreNotFound);
  else await removeLink(files.kubeconfig);
  await removeLink(files.kubectl);
  await Deno.remove(files.record).catch(ignoreNotFound);
  return left;
}

/** Ends a process if it still is the one that was started: its command line names the directory of the control plane. */
async function endOwn(pid: number, dir: string): Promise<void> {
  const isOwn = async () => (await commandLine(pid)).includes(dir);
  if (!await isOwn()) return;
  Deno.kill(pid, "SIGKILL");
  const deadline = performance.now() + 10_000;
  while (await isOwn()) {
    if (performance.now() > deadline) {
      throw new Error(`Failed to end process ${pid}: it is still there after 10 s`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Empty if there is no such process, or it has ended. */
async function commandLine(pid: number): Promise<string> {
  if (Deno.build.os !== "linux") {
    return (await run("ps", ["-ww", "-o", "args=", "-p", String(pid)])).stdout;
  }
  return await Deno.readTextFile(`/proc/${pid}/cmdline`).catch((error) => {
    // ESRCH: it ended while the file was open.
    if (error instanceof Deno.errors.NotFound || error?.code === "ESRCH") return "";
    throw error;
  });
}

async function works(kubeconfig: string): Promise<boolean> {
  try {
    using admin = await RestClient.fromKubeconfig(kubeconfig);
    await admin.text("/readyz");
    return true;
  } catch {
    return false;
  }
}

async function applyAll(files: Files, { manifests = [] }: ClusterUpOptions): Promise<void> {
  using admin = await RestClient.fromKubeconfig(files.kubeconfig);
  for (const manifest of manifests) await admin.apply(manifest);
}

async function readRecord(path: string): Promise<ClusterRecord | undefined> {
  const text = await Deno.readTextFile(path).catch(ignoreNotFound);
  return text === undefined ? undefined : JSON.parse(text);
}

async function link(to: string, path: string): Promise<void> {
  await removeLink(path);
  await Deno.symlink(to, path);
}

/**
 * Removes a link of ours. What is none was put there by somebody else.
 *
 * @throws {OtherClusterError} then.
 */
async function removeLink(path: string): Promise<void> {
  const info = await Deno.lstat(path).catch(ignoreNotFound);
  if (info === undefined) return;
  if (!info.isSymlink) {
    throw new OtherClusterError(`${path} is not a link that was made here: move it elsewhere, and try again`);
  }
  await Deno.remove(path);
}

function ignoreNotFound(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** What a command printed. One that is not there has failed. */
async function run(
  command: string,
  args: string[],
  options: { detached?: boolean } = {},
): Promise<{ success: boolean; stdout: string; stderr: string }> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(command, { args, stdin: "null", ...options })
      .output();
    const decoder = new TextDecoder();
    return { success, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { success: false, stdout: "", stderr: error.message };
    throw error;
  }
}
