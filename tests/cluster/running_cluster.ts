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
  /** YAML that is applied before controllers start (see `ControlPlaneOptions`); not on a node, where a chart brings it. */
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
  | { readonly type: "kind"; readonly name: string }
  | { readonly type: "node"; readonly dir: string; readonly pids: readonly number[] }
  | { readonly type: "control-plane"; readonly dir: string; readonly pids: Readonly<Record<string, number>> };

/**
 * Finds the cluster of this checkout or brings one up: the user's own if `kubeconfig` says so, else one of kind where Docker and kind
 * are there, else a node if `nodeImages` asks for one and it can be had, else a control plane as {@linkcode startControlPlane} makes
 * it.
 *
 * @throws {OtherClusterError} if there is one with nodes, and `bare` asks for one without.
 * @throws what {@linkcode startControlPlane} throws, and the reason of `signal`.
 */
export async function clusterUp(options: ClusterUpOptions = {}): Promise<RunningCluster> {
  const report = options.report ?? ((line) => console.error(line));
  const files = filesIn(options.directory);
  await Deno.mkdir(files.directory, { recursive: true });
  using lock = await Deno.open(files.lock, { create: true, write: true });
  await lock.lock(true);

  const found = await readRecord(files.record);
  if (found !== undefined && options.kubeconfig === undefined && await works(files.kubeconfig)) {
    if (options.bare && found.type !== "control-plane") {
      throw new OtherClusterError(
        `There is ${
          describe(found)
        } already: leave out --bare to go on with it, or end it first with \`deno task cluster:down\``,
      );
    }
    if (found.type !== "node") await applyAll(files, options);
    else if (options.nodeImages !== undefined) {
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
    if (record.type === "own" || record.type === "kind") await applyAll(files, options);
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
  await takeDown(files, record);
  await Deno.remove(files.lock);
  switch (record.type) {
    case "own":
      return `Left the cluster at ${record.server} as it is`;
    case "kind":
      return `Deleted the kind cluster ${record.name}`;
    case "node":
      return "Stopped the node";
    case "control-plane":
      return "Stopped the control plane";
  }
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
  const isNode = record.type === "node";
  return { kubeconfig: files.kubeconfig, kubectl: files.kubectl, isNode, description: describe(record) };
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

const KIND_CLUSTER = "trust-manager-deno";

async function kindWorks(): Promise<boolean> {
  return await run("kind", ["version"]) !== undefined && await run("docker", ["info"]) !== undefined;
}

async function startKind(files: Files, report: (line: string) => void): Promise<ClusterRecord> {
  report(`Creating the kind cluster ${KIND_CLUSTER}`);
  const args = [
    "create",
    "cluster",
    "--name",
    KIND_CLUSTER,
    "--kubeconfig",
    files.kubeconfig,
    "--wait",
    "2m",
  ];
  if (await run("kind", args) === undefined) {
    await run("kind", ["delete", "cluster", "--name", KIND_CLUSTER]); // what there is of it
    throw new Error(`Failed to run kind ${args.join(" ")}`);
  }
  await link(await findKubectl(report), files.kubectl);
  return { type: "kind", name: KIND_CLUSTER };
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

async function takeDown(files: Files, record: ClusterRecord): Promise<void> {
  if (record.type === "kind") await run("kind", ["delete", "cluster", "--name", record.name]);
  if (record.type === "node") await endNode(record);
  if (record.type === "control-plane") {
    for (const pid of Object.values(record.pids)) await endOwn(pid, record.dir);
    await Deno.remove(record.dir, { recursive: true }).catch(ignoreNotFound);
  }
  for (const file of [files.kubeconfig, files.kubectl, files.record]) {
    await Deno.remove(file).catch(ignoreNotFound);
  }
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
  if (Deno.build.os !== "linux") return await run("ps", ["-ww", "-o", "args=", "-p", String(pid)]) ?? "";
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
  await Deno.remove(path).catch(ignoreNotFound);
  await Deno.symlink(to, path);
}

function ignoreNotFound(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** Standard output of a command; undefined if it is not there or failed. */
async function run(command: string, args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args, stdin: "null", stderr: "null" })
      .output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
