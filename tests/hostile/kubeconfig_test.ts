import assert from "node:assert/strict";
import fc from "fast-check";
import { stringify } from "yaml";
import { ClusterConfigError } from "../../lib/kube/config.ts";
import { parseKubeconfig } from "../../lib/kube/kubeconfig.ts";
import { forAll } from "./property.ts";

const FILE = "/etc/kubeconfig";
const SECRET = "hush-this-is-a-token";

/** Whether it was read. If not, the error must say which file, and nothing of what it holds. */
async function isRead(text: string): Promise<boolean> {
  try {
    await parseKubeconfig(text, FILE);
    return true;
  } catch (error) {
    assert.ok(error instanceof ClusterConfigError, `${error}`);
    assert.ok(error.message.includes(FILE), error.message);
    assert.ok(!error.message.includes(SECRET), error.message);
    assert.ok(error.message.length < 500, error.message);
    return false;
  }
}

const value = fc.jsonValue({ maxDepth: 3 });
const secretOr = (good: unknown) =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(good) }, { weight: 1, arbitrary: fc.constant(SECRET) }, {
    weight: 1,
    arbitrary: fc.constantFrom(null, 1, true, [], {}, [SECRET], { other: SECRET }),
  });
const configs = fc.record({
  kind: secretOr("Config"),
  "current-context": secretOr("c"),
  clusters: fc.oneof(
    value,
    fc.array(
      fc.record({
        name: fc.constantFrom("c", "", null),
        cluster: fc.oneof(
          value,
          fc.record({
            server: secretOr("https://127.0.0.1"),
            "certificate-authority-data": secretOr("QUJD"),
          }),
        ),
      }),
      { maxLength: 2 },
    ),
  ),
  users: fc.oneof(
    value,
    fc.array(
      fc.record({
        name: fc.constantFrom("u", "v", null),
        user: fc.oneof(
          secretOr({}),
          fc.record({
            token: secretOr(SECRET),
            "client-key-data": secretOr(SECRET),
            password: secretOr(SECRET),
            exec: secretOr({
              command: "x",
              apiVersion: "client.authentication.k8s.io/v1",
              env: [{ name: "T", value: SECRET }],
            }),
            "as-user-extra": secretOr({ a: [SECRET] }),
          }),
        ),
      }),
      { maxLength: 2 },
    ),
  ),
}, { requiredKeys: [] });

Deno.test("fields of wrong types are told by their path, without what they hold", async () => {
  let read = 0;
  await forAll(configs, 2000, async (config) => {
    if (await isRead(JSON.stringify(config))) read++;
    await isRead(stringify(config));
  });
  assert.ok(read > 20, `only ${read} were read`);
});

Deno.test("text that is YAML, nearly YAML or neither is read or refused", async () => {
  const pieces = fc.constantFrom(
    ...[
      "users:",
      "\n",
      "\n- ",
      "\n  ",
      ": ",
      "{",
      "}",
      "[",
      "]",
      ", ",
      '"',
      "'",
      "&a ",
      "*a",
      "<<: *a",
      "!!binary ",
      "!t ",
      "|\n",
      ">\n",
    ],
    ...[
      "---\n",
      "...\n",
      "%YAML 1.1\n",
      "# ",
      "\t",
      "? ",
      "\0",
      "\ufeff",
      "name: u",
      "user: ",
      `token: ${SECRET}`,
      SECRET,
      "null",
      "0x1f",
      "~",
    ],
  );
  await forAll(fc.array(pieces, { maxLength: 16 }).map((all) => all.join("")), 3000, async (text) => {
    await isRead(text);
  });
});

/** `depth` lists in which each item is the one before, nine times. */
function bomb(depth: number): string {
  const levels = Array.from(
    { length: depth },
    (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(", ")}]`,
  );
  return [`a0: &a0 ${SECRET}`, ...levels, `users: *a${depth}`].join("\n");
}

const refused: Record<string, string> = {
  "a bomb of aliases": bomb(12),
  "a bomb of merged maps": [
    `a0: &a0 {x: ${SECRET}}`,
    ...Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} {<<: [*a${i}, *a${i}]}`),
  ].join("\n"),
  "a list in itself": "users: &a [*a]",
  "a user in itself": "users: &a [{name: x, user: *a}]",
  "maps 100,000 deep": '{"users":'.repeat(1e5) + "1" + "}".repeat(1e5),
  "lists 100,000 deep, not closed": "[".repeat(1e5),
  "blocks 3,000 deep": Array.from({ length: 3000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"),
  "100,000 aliases": `a: &a ${SECRET}\nb: [${Array(1e5).fill("*a").join(",")}]`,
  "binary": "\0\x01\x02",
};

for (const [name, text] of Object.entries(refused)) {
  Deno.test(`a kubeconfig with ${name} is refused`, async () => assert.equal(await isRead(text), false));
}
