import { ServerProcess } from "../cluster/server_process.ts";
import { removeCgroups } from "../node/cgroups.ts";

/** A command of Docker failed. The message holds the end of what it said. */
export class DockerError extends Error {
  override readonly name = "DockerError";
}

/** What `docker image inspect` and `docker container inspect` tell, as far as it is looked at. */
export interface Inspected {
  readonly Architecture: string;
  /** Bytes. */
  readonly Size: number;
  readonly RootFS: { readonly Layers: readonly string[] };
  readonly Config: {
    readonly User: string;
    readonly Entrypoint: readonly string[] | null;
    readonly Labels: Readonly<Record<string, string>> | null;
  };
  readonly State: { readonly Pid: number; readonly StartedAt: string; readonly ExitCode: number };
}

/**
 * A Docker daemon that nobody else uses, and that leaves nothing behind. It runs in PID and mount namespaces of its own, on a socket
 * in a folder of its own, without bridge and firewall rules: what it starts and mounts goes with it, however it ends. It shares the
 * machine's network.
 */
export class DockerDaemon implements AsyncDisposable {
  /** Folder for files that go with it. */
  readonly dir: string;
  readonly #docker: string;
  readonly #cgroup: string;
  readonly #process: ServerProcess;

  private constructor(docker: string, dir: string, cgroup: string, process: ServerProcess) {
    this.#docker = docker;
    this.dir = dir;
    this.#cgroup = cgroup;
    this.#process = process;
  }

  /**
   * Starts it. Takes root on Linux. On Debian and its kin, Docker is installed if it is missing.
   *
   * @throws {Error} that says what is missing, or how the daemon's log ends.
   */
  static async start(report: (line: string) => void): Promise<DockerDaemon> {
    const { docker, dockerd } = await findDocker(report);
    const dir = await Deno.makeTempDir({ prefix: "trust-manager-docker-" });
    const cgroup = dir.replace(/.*\//, "");
    await Deno.mkdir(`${dir}/client`);
    const process = ServerProcess.start({
      name: "dockerd",
      program: "unshare",
      args: [
        ...["--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--propagation=private"],
        // It keeps a key and sockets in places that cannot be chosen.
        ...[
          "sh",
          "-ec",
          'mkdir -p /etc/docker; for at in /run /etc/docker; do mount -t tmpfs none $at; done; exec "$@"',
        ],
        ...[
          "sh",
          dockerd,
          `--data-root=${dir}/data`,
          `--exec-root=${dir}/exec`,
          `--pidfile=${dir}/dockerd.pid`,
        ],
        ...[`--host=unix://${dir}/docker.sock`, `--cgroup-parent=/${cgroup}`],
        ...[
          "--bridge=none",
          "--iptables=false",
          "--ip6tables=false",
          "--ip-forward=false",
          "--ip-masq=false",
        ],
      ],
      logFile: `${dir}/dockerd.log`,
    });
    const daemon = new DockerDaemon(docker, dir, cgroup, process);
    try {
      await process.waitUntil("it answers", () => daemon.docker("version").then(() => true, () => false));
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
    return daemon;
  }

  /**
   * Runs `docker` with these arguments and returns its standard output.
   *
   * @throws {DockerError} if it fails.
   */
  async docker(...args: string[]): Promise<string> {
    const { code, output, said } = await this.tryDocker(args);
    if (code !== 0) {
      throw new DockerError(`docker ${args[0]} failed: ${(said + output).trim().slice(-6_000)}`);
    }
    return output;
  }

  /**
   * Builds an image, and returns all that was said. What is run while building has no network.
   *
   * @throws {DockerError} if it fails.
   */
  async build(...args: string[]): Promise<string> {
    const { code, said } = await this.tryDocker(["build", "--progress=plain", "--network=none", ...args]);
    if (code !== 0) throw new DockerError(`docker build failed: ${said.trim().slice(-6_000)}`);
    return said;
  }

  /** Runs `docker` with these arguments, which may fail. */
  async tryDocker(
    args: readonly string[],
    input?: string,
  ): Promise<{ code: number; output: string; said: string }> {
    const process = new Deno.Command(this.#docker, {
      args: [...args],
      env: {
        DOCKER_HOST: `unix://${this.dir}/docker.sock`,
        DOCKER_CONFIG: `${this.dir}/client`,
        DOCKER_BUILDKIT: "1",
      },
      stdin: input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const fed = input === undefined ? undefined : new Blob([input]).stream().pipeTo(process.stdin);
    const [output, said, { code }] = await Promise.all([
      process.stdout.text(),
      process.stderr.text(),
      process.status,
      fed?.catch(() => {}), // It may end before it has read all.
    ]);
    return { code, output, said };
  }

  /** What there is to know about an image or a container. */
  async inspect(what: "image" | "container", name: string): Promise<Inspected> {
    const [inspected] = JSON.parse(await this.docker(what, "inspect", name));
    return inspected;
  }

  /** Text of a file below `/proc`, as the daemon sees it: by the process ids that it tells. */
  async proc(path: string): Promise<string> {
    const init = await this.#init();
    if (init === undefined) throw new DockerError("The Docker daemon has ended");
    const root = `/proc/${init}/root`; // what it sees as / (proc(5))
    return await Deno.readTextFile(`${root}/proc/${path}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // unshare does not pass signals on.
    const init = await this.#init();
    if (init !== undefined) Deno.kill(init, "SIGTERM");
    const late = setTimeout(() => this.#process.end("SIGKILL"), 10_000);
    await this.#process.ended;
    clearTimeout(late);
    // Containers' control groups went with them; their parents stay.
    await removeCgroups(`/${this.#cgroup}`);
    await Deno.remove(this.dir, { recursive: true });
  }

  /** Process id of the daemon, which is the first in its namespace; undefined if it has ended. */
  async #init(): Promise<number | undefined> {
    const { pid } = this.#process;
    const namespaceOf = (pid: string | number) => Deno.readLink(`/proc/${pid}/ns/pid`).catch(() => undefined);
    const children = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`).catch(() => "");
    for (const child of children.trim().split(" ").filter(Boolean)) {
      const namespace = await namespaceOf(child);
      // Another child watches over this process.
      if (namespace !== undefined && namespace !== await namespaceOf(pid)) return Number(child);
    }
    return undefined;
  }
}

async function findDocker(report: (line: string) => void): Promise<{ docker: string; dockerd: string }> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) {
    throw new Error("Images are tested with a Docker daemon of the tests' own, which takes root on Linux");
  }
  const find = async () => ({
    // The one that came with the daemon, rather than another in the path: it has BuildKit built in.
    docker: await firstOf("/usr/bin/docker", "/usr/local/bin/docker"),
    dockerd: await firstOf("/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd"),
  });
  let { docker, dockerd } = await find();
  if (docker === undefined || dockerd === undefined) {
    report("Docker is missing: installing the package docker.io");
    await apt("update");
    await apt("install", "--yes", "--no-install-recommends", "docker.io");
    ({ docker, dockerd } = await find());
  }
  if (docker === undefined || dockerd === undefined) {
    throw new Error("Found no dockerd and docker: install Docker (Debian package docker.io)");
  }
  return { docker, dockerd };
}

async function firstOf(...paths: string[]): Promise<string | undefined> {
  for (const path of paths) {
    if (await Deno.stat(path).then(() => true, () => false)) return path;
  }
  return undefined;
}

/** Failures show in what is missing afterwards. */
async function apt(...args: string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await new Deno.Command("apt-get", { args, env, stdin: "null" }).output().catch(() => {});
}
