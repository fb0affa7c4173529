import { type ControlPlane, writeKubeconfig } from "./control_plane.ts";

/** kubectl failed. The message holds its arguments and what it said. */
export class KubectlError extends Error {
  override readonly name = "KubectlError";
  /** Standard error. */
  readonly said: string;

  constructor(args: readonly string[], said: string) {
    super(`Failed to run kubectl ${args.join(" ")}: ${said.trim()}`);
    this.said = said;
  }
}

/**
 * Runs kubectl as a cluster administrator and returns its standard output.
 *
 * @param options.stdin for `apply -f -`.
 * @throws {KubectlError}
 */
export async function kubectl(
  controlPlane: Pick<ControlPlane, "kubectl" | "kubeconfig">,
  args: readonly string[],
  options: { stdin?: string } = {},
): Promise<string> {
  await using process = new Deno.Command(controlPlane.kubectl, {
    args: ["--kubeconfig", controlPlane.kubeconfig, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const feed = async () => {
    const writer = process.stdin.getWriter();
    await writer.write(new TextEncoder().encode(options.stdin ?? ""));
    await writer.close();
  };
  const [out, said, status] = await Promise.all([
    process.stdout.text(),
    process.stderr.text(),
    process.status,
    feed().catch(() => {}), // It may end before it has read all.
  ]);
  if (!status.success) throw new KubectlError(args, said);
  return out;
}

/** Applies YAML as `kubectl apply` does. ({@linkcode RestClient.apply} is ten times as fast.) */
export async function kubectlApply(
  controlPlane: Pick<ControlPlane, "kubectl" | "kubeconfig">,
  yaml: string,
): Promise<void> {
  await kubectl(controlPlane, ["apply", "-f", "-"], { stdin: yaml });
}

/**
 * Makes a kubeconfig file for a service account, with a bound token as the kubelet gives to pods (TokenRequest API, valid
 * for an hour), so that a program runs with that account's rights and no more.
 *
 * @returns the path of the file, in the directory of the control plane.
 */
export async function serviceAccountKubeconfig(
  controlPlane: Pick<ControlPlane, "admin" | "dir">,
  namespace: string,
  name: string,
): Promise<string> {
  const request = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: 3600 },
  };
  const { status } = await controlPlane.admin.create<{ status: { token: string } }>(
    `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`,
    request,
  );
  const path = `${controlPlane.dir}/${namespace}.${name}.${crypto.randomUUID()}.kubeconfig.yaml`;
  await writeKubeconfig(path, controlPlane.admin, status.token);
  return path;
}
