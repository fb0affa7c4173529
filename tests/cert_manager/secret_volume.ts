import type { ControlPlane } from "../cluster/control_plane.ts";

/**
 * A folder with the files of a Secret, written as the kubelet writes it for a pod: all files at once, behind a symbolic link that is
 * replaced.
 */
export class SecretVolume implements AsyncDisposable {
  /** Path of the folder. */
  readonly dir: string;
  #versions = 0;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Makes an empty one. */
  static async create(): Promise<SecretVolume> {
    return new SecretVolume(await Deno.makeTempDir({ prefix: "trust-manager-secret-volume-" }));
  }

  /**
   * Reads the Secret at `path` of the API and replaces the files by its keys.
   *
   * @throws {Error} if there is no such Secret.
   */
  async mount(admin: ControlPlane["admin"], path: string): Promise<void> {
    const secret = await admin.get<{ data?: Record<string, string> }>(path);
    if (secret === undefined) throw new Error(`Cannot mount the Secret ${path}: it does not exist`);
    const version = `..version-${this.#versions++}`;
    await Deno.mkdir(`${this.dir}/${version}`);
    for (const [key, value] of Object.entries(secret.data ?? {})) {
      await Deno.writeFile(`${this.dir}/${version}/${key}`, Uint8Array.fromBase64(value), { mode: 0o600 });
      await Deno.symlink(`..data/${key}`, `${this.dir}/${key}`).catch((error) => {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      });
    }
    await Deno.symlink(version, `${this.dir}/..next`);
    await Deno.rename(`${this.dir}/..next`, `${this.dir}/..data`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
  }
}
