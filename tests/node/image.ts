/** What an image consists of. */
export interface ImageContent {
  /** Name and tag, such as `localhost/pause:1`. */
  readonly reference: string;
  /** Files by their path in the image: a file of this machine (links become what they lead to), or text. */
  readonly files: Readonly<Record<string, ImageFile>>;
  readonly entrypoint: readonly string[];
  /** User and group, such as `65532:65532`. Default root. */
  readonly user?: string;
  /** Environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One file of an image. */
export type ImageFile = { readonly from: string } | { readonly text: string };

/** Times and owners would only make equal images differ. */
const REPRODUCIBLE = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];

/**
 * Writes an image of one layer as an archive like that of `docker save`, which every container runtime can load.
 *
 * @param path of the archive.
 */
export async function makeImage(path: string, content: ImageContent): Promise<void> {
  const work = await Deno.makeTempDir({ prefix: "trust-manager-image-" });
  try {
    for (const [target, file] of Object.entries(content.files)) {
      const copy = `${work}/root${target}`;
      await Deno.mkdir(copy.replace(/\/[^/]*$/, ""), { recursive: true });
      if ("text" in file) await Deno.writeTextFile(copy, file.text);
      else await Deno.copyFile(await Deno.realPath(file.from), copy);
    }
    const archive = `${work}/archive`;
    await Deno.mkdir(archive);
    await tar(`${archive}/layer.tar`, `${work}/root`);
    const layer = await sha256(await Deno.readFile(`${archive}/layer.tar`));
    const config = JSON.stringify({
      architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
      os: "linux",
      config: {
        Entrypoint: content.entrypoint,
        User: content.user ?? "",
        Env: Object.entries(content.env ?? {}).map(([name, value]) => `${name}=${value}`),
      },
      rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
    });
    const name = `${await sha256(new TextEncoder().encode(config))}.json`;
    await Deno.writeTextFile(`${archive}/${name}`, config);
    const manifest = [{ Config: name, RepoTags: [content.reference], Layers: ["layer.tar"] }];
    await Deno.writeTextFile(`${archive}/manifest.json`, JSON.stringify(manifest));
    await tar(path, archive);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** A program with the libraries that it is linked to, as files of an image. */
export async function programFiles(path: string, target: string): Promise<Record<string, ImageFile>> {
  const files: Record<string, ImageFile> = { [target]: { from: path } };
  // A static program has none, and ldd fails.
  const { stdout } = await new Deno.Command("ldd", { args: [path], stderr: "null" }).output();
  for (const [library] of new TextDecoder().decode(stdout).matchAll(/\/\S+(?= \(0x)/g)) {
    files[library] = { from: library };
  }
  return files;
}

async function tar(path: string, folder: string): Promise<void> {
  const args = ["--create", `--file=${path}`, ...REPRODUCIBLE, `--directory=${folder}`, "."];
  const { success, stderr } = await new Deno.Command("tar", { args, stdin: "null" }).output();
  if (!success) throw new Error(`Failed to make ${path}: ${new TextDecoder().decode(stderr).trim()}`);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
