import assert from "node:assert/strict";
import { ROOT_1 } from "../builders.ts";
import { clusterDown, clusterUp, OtherClusterError } from "./running_cluster.ts";

/** What stands for kind: clusters are files, which hold the CA that tells one from another. */
const KIND = (state: string, server: string) =>
  `#!/bin/sh
clusters=${state}/clusters
kubeconfig() {
  printf 'apiVersion: v1\\nkind: Config\\ncurrent-context: kind\\n'
  printf 'contexts:\\n- name: kind\\n  context: {cluster: kind, user: kind}\\n'
  printf 'clusters:\\n- name: kind\\n  cluster:\\n    certificate-authority-data: %s\\n    server: ${server}\\n' "$(cat "$clusters/$1")"
  printf 'users:\\n- name: kind\\n  user: {token: x}\\n'
}
case "$1 $2" in
  "version ") ;;
  "get clusters") ls "$clusters" ;;
  "get kubeconfig") kubeconfig "$4" ;;
  "create cluster")
    if [ -e ${state}/occupied ] || [ -e "$clusters/$4" ]; then
      echo "ERROR: failed to create cluster: node(s) already exist for a cluster with the name \\"$4\\"" >&2
      exit 1
    fi
    (cat ${state}/ca.pem; od -An -N8 -tx1 /dev/urandom) | base64 | tr -d '\\n' > "$clusters/$4"
    kubeconfig "$4" > "$6"
    ;;
  "delete cluster")
    # Without the file's name, kind changes the user's own.
    [ "$5" = --kubeconfig ] || : > ${state}/users-kubeconfig-was-changed
    rm "$clusters/$4"
    ;;
  *) echo "ERROR: unknown command $*" >&2; exit 1 ;;
esac
`;

/** A machine with kind and Docker, and with clusters of others. */
class Machine implements AsyncDisposable {
  readonly #root: string;
  readonly #path: string;
  readonly #server: Deno.HttpServer;
  readonly directory: string;

  private constructor(root: string, path: string, server: Deno.HttpServer) {
    this.#root = root;
    this.#path = path;
    this.#server = server;
    this.directory = `${root}/checkout`;
  }

  static async start(): Promise<Machine> {
    const root = await Deno.makeTempDir({ prefix: "trust-manager-kind-" });
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response("ok"),
    );
    for (const folder of ["bin", "clusters", "checkout"]) await Deno.mkdir(`${root}/${folder}`);
    await Deno.writeTextFile(`${root}/ca.pem`, `${ROOT_1.pem}\n`);
    await Deno.writeTextFile(`${root}/clusters/somebody-elses`, "theirs");
    const programs = {
      kind: KIND(root, `http://127.0.0.1:${server.addr.port}`),
      docker: "#!/bin/sh\n",
      kubectl: "#!/bin/sh\n",
    };
    for (const [name, script] of Object.entries(programs)) {
      await Deno.writeTextFile(`${root}/bin/${name}`, script, { mode: 0o755 });
    }
    const path = Deno.env.get("PATH") ?? "";
    Deno.env.set("PATH", `${root}/bin:${path}`);
    return new Machine(root, path, server);
  }

  /** Name and CA of each cluster. */
  clusters(): Record<string, string> {
    const folder = `${this.#root}/clusters`;
    return Object.fromEntries(
      Array.from(Deno.readDirSync(folder), ({ name }) => [name, Deno.readTextFileSync(`${folder}/${name}`)]),
    );
  }

  put(name: string, ca: string): void {
    Deno.writeTextFileSync(`${this.#root}/clusters/${name}`, ca);
  }

  /** As if another of the same name had come after the list was read. */
  occupy(): void {
    Deno.writeTextFileSync(`${this.#root}/occupied`, "");
  }

  files(directory = this.directory): string[] {
    return Array.from(Deno.readDirSync(directory), ({ name }) => name).toSorted();
  }

  up(directory = this.directory) {
    return clusterUp({ directory, report: () => {} });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Deno.env.set("PATH", this.#path);
    await this.#server.shutdown();
    await assert.rejects(Deno.stat(`${this.#root}/users-kubeconfig-was-changed`), Deno.errors.NotFound);
    await Deno.remove(this.#root, { recursive: true });
  }
}

const ownName = (machine: Machine) =>
  Object.keys(machine.clusters()).find((name) => name.startsWith("trust-manager-deno")) ?? "";

Deno.test("a kind cluster is created, found again, and deleted; those of others stay", async () => {
  await using machine = await Machine.start();
  const before = machine.clusters();
  const first = await machine.up();
  const created = machine.clusters();
  assert.equal(Object.keys(created).length, 2);
  assert.equal(first.description, `the kind cluster ${ownName(machine)}`);
  assert.deepEqual(await machine.up(), first);
  assert.deepEqual(machine.clusters(), created);
  const name = ownName(machine);
  assert.equal(await clusterDown(machine), `Deleted the kind cluster ${name}`);
  assert.deepEqual(machine.clusters(), before);
  assert.deepEqual(machine.files(), []);
});

Deno.test("each checkout has a kind cluster of its own", async () => {
  await using machine = await Machine.start();
  const other = `${machine.directory}/other`;
  await machine.up();
  await machine.up(other);
  assert.equal(Object.keys(machine.clusters()).length, 3);
  await clusterDown({ directory: other });
  assert.equal(Object.keys(machine.clusters()).length, 2);
  await clusterDown(machine);
  assert.deepEqual(Object.keys(machine.clusters()), ["somebody-elses"]);
});

Deno.test("a kind cluster that was there before is never deleted", async (t) => {
  await t.step("one of the name that this checkout takes", async () => {
    await using machine = await Machine.start();
    await machine.up();
    const name = ownName(machine);
    await clusterDown(machine);
    machine.put(name, "theirs");
    const before = machine.clusters();
    await assert.rejects(
      machine.up(),
      (error) =>
        error instanceof OtherClusterError && error.message.includes(`kind delete cluster --name ${name}`),
    );
    assert.equal(await clusterDown(machine), undefined);
    assert.deepEqual(machine.clusters(), before);
  });
  await t.step("one that comes while ours is created: kind's own error is shown", async () => {
    await using machine = await Machine.start();
    machine.occupy();
    const before = machine.clusters();
    await assert.rejects(machine.up(), /ERROR: failed to create cluster: node\(s\) already exist/);
    assert.deepEqual(machine.clusters(), before);
    assert.deepEqual(machine.files(), []);
  });
  await t.step("one that took the place of ours", async () => {
    await using machine = await Machine.start();
    await machine.up();
    const name = ownName(machine);
    machine.put(name, "dGhlaXJz");
    assert.equal(
      await clusterDown(machine),
      `Left the kind cluster ${name} as it is: it is not the one that was created here`,
    );
    assert.equal(machine.clusters()[name], "dGhlaXJz");
    assert.deepEqual(machine.files(), []);
  });
});

Deno.test("a file of the user's own is not replaced by a link, nor added to", async () => {
  await using machine = await Machine.start();
  const file = `${machine.directory}/kubeconfig.yaml`;
  const text = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n" +
    "users: [{name: u, user: {token: t}}]\n" +
    "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n";
  await Deno.writeTextFile(file, text);
  await assert.rejects(machine.up(), OtherClusterError);
  await assert.rejects(
    clusterUp({ directory: machine.directory, kubeconfig: file, report: () => {} }),
    OtherClusterError,
  );
  assert.equal(await Deno.readTextFile(file), text);
  assert.deepEqual(Object.keys(machine.clusters()), ["somebody-elses"]);
});

Deno.test("a cluster of the user's own does not take the place of one that runs", async () => {
  await using machine = await Machine.start();
  await machine.up();
  const before = machine.clusters();
  await assert.rejects(
    clusterUp({ directory: machine.directory, kubeconfig: `${machine.directory}/kubeconfig.yaml` }),
    /end it first with `deno task cluster:down`/,
  );
  assert.deepEqual(machine.clusters(), before);
  await clusterDown(machine);
});
