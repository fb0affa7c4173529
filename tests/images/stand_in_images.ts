import { cacheDirectory } from "../cluster/go_programs.ts";
import { findGo, goVersionOf } from "../cluster/go_toolchain.ts";
import { exists, ROOT } from "../project_files.ts";
import type { DockerDaemon } from "./docker_daemon.ts";

/** Images that take the place of those that the Dockerfiles start from, as their build arguments. */
export interface StandInImages {
  readonly DENO_IMAGE: string;
  readonly BASE_IMAGE: string;
  readonly DEBIAN_IMAGE: string;
  readonly GO_IMAGE: string;
}

const COPIER = `${ROOT}/default-ca-package/copier`;

/**
 * Makes base images of this machine's own files, since none can be pulled. They hold what the Dockerfiles use of the real ones, and
 * no more.
 *
 * @param caCertificatesVersion the only version of `ca-certificates` that can be installed in the image of Debian: this machine's.
 */
export async function makeStandInImages(
  daemon: DockerDaemon,
  caCertificatesVersion: string,
): Promise<StandInImages> {
  const image = (name: string) => new ImageFolder(daemon, name);
  const [DENO_IMAGE, BASE_IMAGE, DEBIAN_IMAGE, GO_IMAGE] = await Promise.all([
    denoImage(image("deno")),
    baseImage(image("base")),
    debianImage(image("debian"), caCertificatesVersion),
    goImage(image("go")),
  ]);
  return { DENO_IMAGE, BASE_IMAGE, DEBIAN_IMAGE, GO_IMAGE };
}

/** With the packages of deno.lock, and with Deno itself as the runtime file that `deno compile` puts into binaries. */
async function denoImage(image: ImageFolder): Promise<string> {
  await image.programs("/bin/sh", "/bin/cat", "/bin/chmod", "/bin/mkdir", "/bin/touch");
  await image.program(Deno.execPath(), "/usr/bin/deno");
  const { denoDir, npmCache } = JSON.parse(await run(Deno.execPath(), "info", "--json"));
  for await (const { name } of Deno.readDir(`${denoDir}/dl`)) {
    // What `deno bundle` works with.
    if (name.startsWith("esbuild-")) await image.copy(`${denoDir}/dl/${name}`, `/deno-dir/dl/${name}`);
  }
  const { npm } = JSON.parse(await Deno.readTextFile(`${ROOT}/deno.lock`));
  for await (const { name: registry } of Deno.readDir(npmCache)) {
    for (const locked of Object.keys(npm)) {
      const [name, version] = [
        locked.slice(0, locked.lastIndexOf("@")),
        locked.slice(locked.lastIndexOf("@") + 1),
      ];
      const [folder, packument] = [`${registry}/${name}/${version}`, `${registry}/${name}/registry.json`];
      await image.copy(`${npmCache}/${folder}`, `/deno-dir/npm/${folder}`);
      // Deno fetches it of direct dependencies only: deno.lock says all that it needs to know of the others.
      if (await exists(`${npmCache}/${packument}`)) {
        await image.copy(`${npmCache}/${packument}`, `/deno-dir/npm/${packument}`);
      }
    }
  }
  return await image.make(
    "ENV DENO_DIR=/deno-dir",
    "ENV DENORT_BIN=/usr/bin/deno",
    "ENV DENO_NO_UPDATE_CHECK=1",
  );
}

/** As distroless is: libraries and a user, no shell. */
async function baseImage(image: ImageFolder): Promise<string> {
  await image.libraries(Deno.execPath());
  await image.write("/etc/passwd", "root:x:0:0::/root:/none\nnonroot:x:65532:65532::/home/nonroot:/none\n");
  await image.write("/etc/group", "root:x:0:\nnonroot:x:65532:\n");
  await image.write("/tmp/.keep", "");
  await image.write("/home/nonroot/.keep", "");
  return await image.make("USER 65532");
}

/** Its `apt-get` downloads nothing: it puts this machine's own bundle in place. `dpkg-query` is the real one. */
async function debianImage(image: ImageFolder, version: string): Promise<string> {
  await image.programs("/bin/sh", "/bin/cp", "/bin/mkdir", "/usr/bin/dpkg-query");
  await image.copy("/etc/os-release", "/etc/os-release");
  await image.copy("/var/lib/dpkg/status", "/var/lib/dpkg/status");
  await image.copy("/etc/ssl/certs/ca-certificates.crt", "/archive/ca-certificates.crt");
  await image.write(
    "/usr/bin/apt-get",
    `#!/bin/sh
[ "$*" = update ] && { echo > /lists; exit; }
[ "$*" = "install --yes --no-install-recommends ca-certificates=${version}" ] ||
  { echo "E: Unable to locate what is asked for: $*" >&2; exit 100; }
[ -e /lists ] || { echo "E: There are no lists of packages yet" >&2; exit 100; }
mkdir -p /etc/ssl/certs
cp /archive/ca-certificates.crt /etc/ssl/certs/
`,
    0o755,
  );
  return await image.make();
}

/** With what the copier is compiled of, and with what has been compiled before for the standard library. */
async function goImage(image: ImageFolder): Promise<string> {
  const go = await findGo(
    goVersionOf(await Deno.readTextFile(`${COPIER}/go.mod`)),
    (line) => console.error(line),
  );
  const cache = `${cacheDirectory()}/copier-go-cache`;
  const env = { ...go.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOCACHE: cache, GOWORK: "off" };
  const runGo = (args: string[], more = {}) =>
    runIn({ cwd: COPIER, env: { ...env, ...more } }, go.command, ...args);
  for (const GOARCH of ["amd64", "arm64"]) {
    await runGo(["build", "-trimpath", "-o", "/dev/null", "."], { GOARCH });
  }

  const [root = "", tools = ""] = (await runGo(["env", "GOROOT", "GOTOOLDIR"])).split("\n");
  const sources = (await runGo(["list", "-deps", "-f", "{{if .Standard}}{{.Dir}}{{end}}", "."])).split("\n");
  const inGoRoot = (path: string) => `/usr/local/go${path.slice(root.length)}`;
  await image.programs("/bin/sh", "/bin/mkdir", "/bin/touch");
  await image.write("/tmp/.keep", "");
  await image.program(`${root}/bin/go`, "/usr/local/go/bin/go");
  for (const tool of ["asm", "compile", "link"]) {
    await image.program(`${tools}/${tool}`, inGoRoot(`${tools}/${tool}`));
  }
  for (
    const path of [`${root}/VERSION`, `${root}/go.env`, `${root}/pkg/include`, ...sources.filter(Boolean)]
  ) {
    await image.copy(path, inGoRoot(path));
  }
  await image.copy(cache, "/go-cache");
  return await image.make(
    "ENV PATH=/usr/local/go/bin:/usr/bin:/bin",
    "ENV GOCACHE=/go-cache",
    "ENV GOTOOLCHAIN=local",
    "ENV HOME=/",
  );
}

/** A folder that becomes an image. */
class ImageFolder {
  readonly #daemon: DockerDaemon;
  readonly #name: string;
  readonly #root: string;

  constructor(daemon: DockerDaemon, name: string) {
    this.#daemon = daemon;
    this.#name = name;
    this.#root = `${daemon.dir}/${name}`;
  }

  /** Copies a file or a folder; links become what they lead to. */
  async copy(path: string, target: string): Promise<void> {
    await this.#makeParent(target);
    await run("cp", "-rL", "--no-target-directory", path, this.#root + target);
  }

  /** Copies a program with the libraries that it is linked to. */
  async program(path: string, target: string): Promise<void> {
    await this.copy(path, target);
    await this.libraries(path);
  }

  async programs(...paths: string[]): Promise<void> {
    for (const path of paths) await this.program(path, path);
  }

  /** Copies the libraries that a program is linked to: none for a static one. */
  async libraries(path: string): Promise<void> {
    const { stdout } = await new Deno.Command("ldd", { args: [path], stderr: "null" }).output();
    for (const [library] of new TextDecoder().decode(stdout).matchAll(/\/\S+(?= \(0x)/g)) {
      await this.copy(library, library);
    }
  }

  async write(path: string, text: string, mode = 0o644): Promise<void> {
    await this.#makeParent(path);
    await Deno.writeTextFile(this.#root + path, text, { mode });
  }

  /** Makes the image, removes the folder, and returns the image's name. */
  async make(...instructions: string[]): Promise<string> {
    const archive = `${this.#root}.tar`;
    await run(
      "tar",
      "--create",
      "--owner=0",
      "--group=0",
      `--file=${archive}`,
      `--directory=${this.#root}`,
      ".",
    );
    const reference = `stand-in/${this.#name}:latest`;
    const changes = instructions.flatMap((instruction) => ["--change", instruction]);
    await this.#daemon.docker("import", ...changes, archive, reference);
    await Deno.remove(archive);
    await Deno.remove(this.#root, { recursive: true });
    return reference;
  }

  async #makeParent(path: string): Promise<void> {
    await Deno.mkdir(this.#root + path.replace(/\/[^/]*$/, ""), { recursive: true });
  }
}

/** Standard output of a command. */
function run(command: string, ...args: string[]): Promise<string> {
  return runIn({}, command, ...args);
}

async function runIn(
  where: { readonly cwd?: string; readonly env?: Record<string, string> },
  command: string,
  ...args: string[]
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, ...where, stdin: "null" })
    .output();
  const text = new TextDecoder();
  if (!success) throw new Error(`${command} ${args[0]} failed: ${text.decode(stderr).trim().slice(-2_000)}`);
  return text.decode(stdout).trimEnd();
}
