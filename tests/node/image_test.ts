import assert from "node:assert/strict";
import { makeImage } from "./image.ts";

async function tar(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("tar", { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("makeImage() writes an archive as `docker save` does, and the same one for the same content", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/program`, "#!/bin/sh\n", { mode: 0o755 });
    await Deno.symlink("program", `${dir}/link`);
    const content = {
      reference: "localhost/example:1",
      files: { "/bin/program": { from: `${dir}/link` }, "/etc/passwd": { text: "nonroot\n" } },
      entrypoint: ["/bin/program"],
      env: { COLOR: "red" },
      user: "65532:65532",
    };
    await makeImage(`${dir}/image.tar`, content);
    await makeImage(`${dir}/again.tar`, content);
    assert.deepEqual(await Deno.readFile(`${dir}/again.tar`), await Deno.readFile(`${dir}/image.tar`));

    await tar("--extract", `--file=${dir}/image.tar`, `--directory=${dir}`);
    const [{ Config, RepoTags, Layers }] = JSON.parse(await Deno.readTextFile(`${dir}/manifest.json`));
    assert.deepEqual([RepoTags, Layers], [["localhost/example:1"], ["layer.tar"]]);
    const { config, rootfs } = JSON.parse(await Deno.readTextFile(`${dir}/${Config}`));
    assert.deepEqual(config, { Entrypoint: ["/bin/program"], User: "65532:65532", Env: ["COLOR=red"] });
    const layer = await crypto.subtle.digest("SHA-256", await Deno.readFile(`${dir}/layer.tar`));
    assert.deepEqual(rootfs.diff_ids, [`sha256:${new Uint8Array(layer).toHex()}`]);
    const listed = await tar("--list", "--verbose", `--file=${dir}/layer.tar`);
    assert.match(listed, /^-rwxr-xr-x 0\/0 +10 .* \.\/bin\/program$/m);
    assert.match(listed, /^-rw-r--r-- 0\/0 +8 .* \.\/etc\/passwd$/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
