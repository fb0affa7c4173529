import assert from "node:assert/strict";
import { OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import { caCertificatesVersion, packageOfThisMachine } from "../../default-ca-package/machine_package.ts";
import { encodePackage } from "../../default-ca-package/package_file.ts";
import { VERSION } from "../../lib/version.ts";
import { freePorts } from "../cluster/free_ports.ts";
import { isReady } from "../cluster/is_ready.ts";
import { bundlePath, TestCluster } from "../e2e/test_cluster.ts";
import type { Bundle } from "../../lib/api/bundle.ts";
import { ROOT } from "../project_files.ts";
import { DockerDaemon } from "./docker_daemon.ts";
import { makeStandInImages } from "./stand_in_images.ts";
import { until } from "../until.ts";

const PACKAGE_FILE = "debian-package/cert-manager-package-debian.json";

/** As the chart has it. */
const RESTRICTED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"];

/** A user such as OpenShift gives, whom no image knows. */
const ANY_USER = "--user=1000680000:0";

Deno.test("the images", async (t) => {
  const report = (line: string) => console.error(line);
  await using daemon = await DockerDaemon.start(report);
  const version = await caCertificatesVersion();
  assert.ok(version !== undefined, "Debian's package ca-certificates is not installed");
  const bases = await makeStandInImages(daemon, version);
  const folder = async (name: string) => {
    await Deno.mkdir(`${daemon.dir}/${name}`);
    await Deno.chmod(`${daemon.dir}/${name}`, 0o777); // as an emptyDir is
    return `${daemon.dir}/${name}`;
  };
  const build = (dockerfile: string, image: string, ...args: string[]) => {
    const images = Object.entries(bases).filter(([name]) =>
      Deno.readTextFileSync(`${ROOT}/${dockerfile}`).includes(`ARG ${name}=`)
    );
    const buildArgs = images.map(([name, image]) => `--build-arg=${name}=${image}`);
    const where = [`--tag=${image}`, `--file=${ROOT}/${dockerfile}`];
    return daemon.build(...where, ...buildArgs, ...args, ROOT);
  };
  const buildPackage = (image: string, ...args: string[]) =>
    build("default-ca-package/Dockerfile", image, `--build-arg=CA_CERTIFICATES_VERSION=${version}`, ...args);

  const machinePackage = await packageOfThisMachine();
  const expected = encodePackage({ ...machinePackage, version: `${version}.7` });
  const packages = await folder("packages");

  await t.step("the package is built from the version of ca-certificates that is asked for", async () => {
    await buildPackage("package", "--build-arg=PACKAGE_SUFFIX=7");
    assert.deepEqual(await contentOf(daemon, "package"), [
      "copyandmaybepause 755",
      "debian-package/ 755",
      `${PACKAGE_FILE} 644`,
    ]);
    const { Config, Architecture, Size } = await daemon.inspect("image", "package");
    assert.equal(Config.User, "65532:65532");
    assert.deepEqual(Config.Entrypoint, ["/copyandmaybepause"]);
    assert.equal(Config.Labels?.["org.opencontainers.image.version"], `${version}.7`);
    report(`   package image: ${megabytes(Size)}, ${Architecture}`);

    await assert.rejects(
      build("default-ca-package/Dockerfile", "none", "--build-arg=CA_CERTIFICATES_VERSION=19700101"),
      /Unable to locate/,
    );
  });

  await t.step("the package for arm64 has the same file, and a copier of its own", async () => {
    await buildPackage("package-arm64", "--build-arg=PACKAGE_SUFFIX=7", "--platform=linux/arm64");
    const arm = await extract(daemon, "package-arm64", await folder("arm64"));
    assert.equal((await daemon.inspect("image", "package-arm64")).Architecture, "arm64");
    assert.equal(await machineOf(`${arm}/copyandmaybepause`), "aarch64");
    assert.equal(await Deno.readTextFile(`${arm}/${PACKAGE_FILE}`), expected.json);
  });

  await t.step("built anew, the package is the same to the last byte", async () => {
    await buildPackage("package-again", "--build-arg=PACKAGE_SUFFIX=7", "--no-cache");
    const [first, second] = [
      await daemon.inspect("image", "package"),
      await daemon.inspect("image", "package-again"),
    ];
    assert.deepEqual(second.RootFS.Layers, first.RootFS.Layers);
  });

  await t.step("the init container copies it, called as the chart does", async () => {
    const run = ["run", "--rm", "--network=none", ...RESTRICTED, `--volume=${packages}:/packages`];
    await daemon.docker(...run, "package", "/copyandmaybepause", "/debian-package", "/packages");
    const file = `${packages}/cert-manager-package-debian.json`;
    assert.equal(await Deno.readTextFile(file), expected.json);
    const { mode, uid } = await Deno.stat(file);
    assert.equal((mode ?? 0) & 0o777, 0o644);
    assert.equal(uid, 65532, "it did not run as the image says");
    // As OpenShift starts it; and again, as after a restart of the pod, over what another user wrote.
    await daemon.docker(...run, ANY_USER, "package", "/copyandmaybepause", "/debian-package", "/packages");
    assert.equal((await Deno.stat(file)).uid, 1000680000);
  });

  await t.step("the operator is one binary on its base, of the version that deno.json says", async () => {
    await build("Dockerfile", "operator");
    const { Config, Size } = await daemon.inspect("image", "operator");
    assert.equal(Config.User, "65532:65532");
    assert.deepEqual(Config.Entrypoint, ["/trust-manager"]);
    assert.equal(Config.Labels?.["org.opencontainers.image.version"], VERSION);
    const base = await contentOf(daemon, bases.BASE_IMAGE);
    const content = await contentOf(daemon, "operator");
    assert.deepEqual(content.filter((file) => !base.includes(file)), ["trust-manager 755"]);
    const shells = /(^|\/)(sh|bash|dash|ash|busybox) /;
    assert.deepEqual(content.filter((file) => shells.test(file)), []);
    const baseSize = (await daemon.inspect("image", bases.BASE_IMAGE)).Size;
    report(
      `   operator image: ${megabytes(Size)}, of which ${megabytes(baseSize)} are the stand-in for its base`,
    );
  });

  await t.step("built anew, the operator is the same to the last byte", async () => {
    await build("Dockerfile", "operator-again", "--no-cache");
    const [first, second] = [
      await daemon.inspect("image", "operator"),
      await daemon.inspect("image", "operator-again"),
    ];
    assert.deepEqual(second.RootFS.Layers, first.RootFS.Layers);
  });

  await t.step("for arm64, it is compiled for arm64", async () => {
    // As far as the stage that compiles: there is no base of that platform here.
    const said = await build("Dockerfile", "operator-arm64", "--platform=linux/arm64", "--target=build");
    assert.match(
      said,
      /task build.*--target=aarch64-unknown-linux-gnu|deno run .*--target=aarch64-unknown-linux-gnu/,
    );
  });

  await t.step("there is no operator for other processors, and the build says so", async () => {
    await assert.rejects(
      build("Dockerfile", "none", "--platform=linux/s390x", "--target=build"),
      /There is no Deno for s390x/,
    );
  });

  // What `deno compile` makes here starts as Deno, for lack of its runtime file: with the script and the same permissions it is
  // the operator.
  const script = ["/trust-manager", "run", ...OPERATOR_FLAGS, "/trust-manager.js"];
  const operator = (flags: readonly string[], ...args: string[]) => [
    ...[
      ...flags,
      ...RESTRICTED,
      ANY_USER,
      `--volume=${SCRIPT}:/trust-manager.js:ro`,
      "--entrypoint=/trust-manager",
    ],
    ...["operator", ...script.slice(1), ...args],
  ];

  await t.step("the operator's image validates a package", async () => {
    const validate = (json: string) =>
      daemon.tryDocker(
        ["run", ...operator(["--rm", "--interactive", "--network=none"], "validate-package")],
        json,
      );
    assert.deepEqual(await validate(expected.json), {
      code: 0,
      output: `${expected.read.id}: ${expected.read.certificates.length} certificates\n`,
      said: "",
    });
    assert.deepEqual(await validate('{"name": "secret'), {
      code: 1,
      output: "",
      said: "trust-manager: Default package is not valid JSON at position 16\n",
    });
  });

  await t.step("the operator runs restricted, reads the package and gets ready", async () => {
    await using cluster = await TestCluster.start();
    const config = await folder("config");
    await Deno.copyFile(cluster.operatorKubeconfig, `${config}/kubeconfig.yaml`);
    await Deno.chmod(`${config}/kubeconfig.yaml`, 0o644);
    const [probePort = 0, metricsPort = 0] = freePorts(2);
    const mounts = [`--volume=${packages}:/packages:ro`, `--volume=${config}:/config:ro`];
    // The cluster is on the machine's own loopback.
    const run = operator(
      ["--detach", "--name=operator", "--network=host", ...mounts],
      "--kubeconfig=/config/kubeconfig.yaml",
      "--default-package-location=/packages/cert-manager-package-debian.json",
      `--readiness-probe-port=${probePort}`,
      `--metrics-port=${metricsPort}`,
      "--webhook-enabled=false",
    );
    await daemon.docker("run", ...run);
    const log = () => daemon.tryDocker(["logs", "operator"]).then(({ output, said }) => output + said);
    await until(
      () => isReady(`http://127.0.0.1:${probePort}/readyz`),
      async () => `it is ready. It printed:\n${await log()}`,
      20_000,
    );
    const ready = Date.now();
    const { State } = await daemon.inspect("container", "operator");
    report(`   the operator was ready ${ready - Date.parse(State.StartedAt)} ms after its container's start`);

    const status = await daemon.proc(`${State.Pid}/status`);
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1];
    assert.equal(field("Uid"), Array(4).fill("1000680000").join("\t"));
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
      assert.equal(field(set), "0000000000000000", set);
    }
    assert.equal(field("NoNewPrivs"), "1");
    assert.equal(field("Seccomp"), "2", "no filter of system calls");
    const { code } = await daemon.tryDocker(["exec", "operator", "sh", "-c", "true"]);
    assert.ok(code !== 0, "there is a shell");

    await cluster.putBundle("public", {
      sources: [{ useDefaultCAs: true }],
      target: { configMap: { key: "ca.crt" } },
    });
    await cluster.synced("public");
    const bundle = await cluster.admin.get<Bundle>(bundlePath("public"));
    assert.equal(bundle?.status?.defaultCAVersion, expected.read.id);

    await daemon.docker("stop", "operator");
    assert.equal((await daemon.inspect("container", "operator")).State.ExitCode, 0, await log());
    // A root that cannot be written to is no reason to complain.
    assert.doesNotMatch(await log(), /[Rr]ead-only|EROFS|[Pp]ermission denied/);
  });
});

/** Paths and modes of the files and folders of an image, without those that every container gets. */
async function contentOf(daemon: DockerDaemon, image: string): Promise<string[]> {
  const dir = await Deno.makeTempDir({ dir: daemon.dir });
  await extract(daemon, image, dir);
  const given = /^(dev|proc|sys|etc)\/|^\.dockerenv |^etc\/(hostname|hosts|resolv\.conf|mtab) /;
  const files: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(`${dir}/${folder}`)) {
      const path = `${folder}${name}${isDirectory ? "/" : ""}`;
      const { mode } = await Deno.lstat(`${dir}/${path}`);
      const entry = `${path} ${((mode ?? 0) & 0o7777).toString(8)}`;
      if (!given.test(entry)) files.push(entry);
      if (isDirectory) await walk(path);
    }
  };
  await walk("");
  return files.sort();
}

/** Unpacks an image into a folder, and returns the folder. */
async function extract(daemon: DockerDaemon, image: string, dir: string): Promise<string> {
  const container = (await daemon.docker("create", image, "/none")).trim();
  const archive = `${dir}.tar`;
  await daemon.docker("export", `--output=${archive}`, container);
  await daemon.docker("rm", container);
  const { success } = await new Deno.Command("tar", { args: ["--extract", `--file=${archive}`, "-C", dir] })
    .output();
  assert.ok(success, "tar failed");
  await Deno.remove(archive);
  return dir;
}

/** The processor that an ELF file is for. */
async function machineOf(path: string): Promise<string> {
  const file = await Deno.readFile(path);
  const machine = new DataView(file.buffer).getUint16(18, true);
  return { 62: "x86_64", 183: "aarch64" }[machine] ?? `unknown: ${machine}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
