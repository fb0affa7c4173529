import { findKubectl } from "./build_control_plane.ts";
import { startControlPlane } from "./control_plane.ts";
import { RestClient } from "./rest_client.ts";

/** The cluster that stays when the command that started it has ended. There is one for each checkout. */
export interface RunningCluster {
  /** `bin/kubeconfig.yaml` of the checkout, for an administrator. */
  readonly kubeconfig: string;
  /** `bin/kubectl` of the checkout. */
  readonly kubectl: string;
  /** What it is, for people: whose cluster, and where. */
  readonly description: string;
}

/** How to bring a cluster up. */
export interface ClusterUpOptions {
  /** A kubeconfig file of a cluster of the user's own, to be used instead of a new one. */
  readonly kubeconfig?: string;
  /** YAML that is applied before controllers start (see `ControlPlaneOptions`). */
  readonly manifests?: readonly string[];
  /** Directory for what is kept. Default `bin` in the checkout. */
  readonly directory?: string;
  /** Is given lines of progress. By default they go to standard error. */
  readonly report?: (line: string) => void;
}

/** What `bin/cluster.json` holds. */
type ClusterRecord =
  | { readonly type: "own"; readonly server: string }
  | { readonly type: "kind"; readonly name: string }
  | { readonly type: "control-plane"; readonly dir: string; readonly pids: Readonly<Record<string, number>> };

/**
 * Finds the cluster of this checkout or brings one up: the user's own if `kubeconfig` says so, else one of kind where Docker and kind
 * are there, else a control plane as {@linkcode startControlPlane} makes it.
 *
 * @throws what {@linkcode startControlPlane} throws.
 */
export async function clusterUp(options: ClusterUpOptions = {}): Promise<RunningCluster> {
  const report = options.report ?? ((line) => console.error(line));
  const files = filesIn(options.directory);
  await Deno.mkdir(files.directory, { recursive: true });
  using lock = await Deno.open(files.lock, { create: true, write: true });
  await lock.lock(true);

  const found = await readRecord(files.record);
  if (found !== undefined && options.kubeconfig === undefined && await works(files.kubeconfig)) {
    for (const manifest of options.manifests ?? []) await applyTo(files.kubeconfig, manifest);
    return running(files, found);
  }
  if (found !== undefined) await takeDown(files, found);

  const record = options.kubeconfig !== undefined
    ? await useOwn(files, options.kubeconfig, report)
    : await kindWorks()
    ? await startKind(files, report)
    : await startOwnControlPlane(files, options, report);
  await Deno.writeTextFile(files.record, JSON.stringify(record, null, 2) + "\n");
  if (record.type !== "control-plane") {
    for (const manifest of options.manifests ?? []) await applyTo(files.kubeconfig, manifest);
  }
  return running(files, record);
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
  const description = record.type === "own"
    ? `your own cluster at ${record.server}`
    : record.type === "kind"
    ? `the kind cluster ${record.name}`
    : `a control plane without nodes (state and logs in ${record.dir})`;
  return { kubeconfig: files.kubeconfig, kubectl: files.kubectl, description };
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
  if (await run("kind", args) === undefined) throw new Error(`Failed to run kind ${args.join(" ")}`);
  await link(await findKubectl(report), files.kubectl);
  return { type: "kind", name: KIND_CLUSTER };
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

async function applyTo(kubeconfig: string, manifest: string): Promise<void> {
  using admin = await RestClient.fromKubeconfig(kubeconfig);
  await admin.apply(manifest);
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
