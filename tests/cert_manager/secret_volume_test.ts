import assert from "node:assert/strict";
import type { ControlPlane } from "../cluster/control_plane.ts";
import { SecretVolume } from "./secret_volume.ts";

Deno.test("a SecretVolume shows all files of the latest version", async () => {
  await using volume = await SecretVolume.create();
  let data: Record<string, string> | undefined;
  const admin = {
    get: () => Promise.resolve(data === undefined ? undefined : { data }),
  } as unknown as ControlPlane["admin"];
  await assert.rejects(volume.mount(admin, "/s"), /the Secret \/s: it does not exist/);
  for (const content of ["first", "second"]) {
    data = { "tls.crt": btoa(`${content} certificate`), "tls.key": btoa(`${content} key`) };
    await volume.mount(admin, "/s");
    assert.equal(await Deno.readTextFile(`${volume.dir}/tls.crt`), `${content} certificate`);
    assert.equal(await Deno.readTextFile(`${volume.dir}/tls.key`), `${content} key`);
  }
});
