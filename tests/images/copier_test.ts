import assert from "node:assert/strict";
import { findGo, goVersionOf } from "../cluster/go_toolchain.ts";
import { ROOT } from "../project_files.ts";

const COPIER = `${ROOT}/default-ca-package/copier`;

Deno.test("the copier's own tests, in Go", async () => {
  const wanted = goVersionOf(await Deno.readTextFile(`${COPIER}/go.mod`));
  const go = await findGo(wanted, (line) => console.error(line));
  for (const args of [["vet", "."], ["test", "-count=1", "."]]) {
    const { success, stdout, stderr } = await new Deno.Command(go.command, {
      args,
      cwd: COPIER,
      env: { ...go.env, CGO_ENABLED: "0", GOWORK: "off" },
    }).output();
    const text = new TextDecoder();
    assert.ok(success, `go ${args[0]}:\n${text.decode(stdout)}${text.decode(stderr)}`);
  }
});
