import assert from "node:assert/strict";
import https from "node:https";
import { OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import type { BundleSpec } from "../../lib/api/bundle.ts";
import type { KubeObject, Secret } from "../../lib/kube/objects.ts";
import { WEBHOOK_PATH } from "../../webhook/admission_handler.ts";
import { admissionReview } from "../admission_review.ts";
import { base64, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { OperatorProcess } from "./operator_process.ts";
import { bundlePath, targetPath, TRUST_NAMESPACE } from "./test_cluster.ts";
import { SELF_SECRET, SERVICE_HOST, WebhookCluster } from "./webhook_cluster.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;

/** Everything that must stay where it is, by name. */
const plants = new Map<string, string>();

/** A text that stands in for something secret. */
function plant(name: string): string {
  const text = `PLANTED-${name}-${crypto.randomUUID()}`;
  plants.set(name, text);
  return text;
}

function keyBlock(name: string, label = "PRIVATE KEY", headers = ""): string {
  return `-----BEGIN ${label}-----\n${headers}${base64(plant(name))}\n-----END ${label}-----\n`;
}

/** The ways in which `text` may stand in an output: as it is, or in base64, at each of the three places where it may begin. */
function forms(text: string): string[] {
  const once = [0, 1, 2].map((before) => base64("x".repeat(before) + text).slice(before === 0 ? 0 : 4, 36));
  const twice = base64(base64(text)).slice(0, 36);
  return [text.slice(0, 24), ...once, twice];
}

/** Which plants stand in `output`. */
function found(output: string): string[] {
  return [...plants].filter(([, text]) => forms(text).some((form) => output.includes(form))).map(([name]) =>
    name
  );
}

/** Runs the operator to its end with a configuration that it refuses, and returns all that it prints. */
async function refused(...flags: string[]): Promise<string> {
  await using operator = OperatorProcess.start(OPERATOR_FLAGS, SCRIPT, [...flags, "--log-level=5"]);
  assert.notEqual(await operator.exited(), 0);
  return operator.output;
}

/** All that a plain HTTP port says. */
async function pages(port: number): Promise<string> {
  let text = "";
  for (
    const path of [
      "/",
      "/readyz",
      "/healthz",
      "/metrics",
      "/debug/pprof/",
      "/configz",
      "/../etc/passwd",
      "/?token=x",
    ]
  ) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    text += `${response.status} ${JSON.stringify([...response.headers])} ${await response.text()}\n`;
  }
  return text;
}

Deno.test("What is secret is in no output", async (t) => {
  assert.deepEqual(
    [
      "none",
      `x${plant("here")}x`,
      base64(`xx${plants.get("here")}`),
      base64(base64(plants.get("here") ?? "")),
    ].map(found),
    [[], ["here"], ["here"], ["here"]],
  );
  await using webhook = await WebhookCluster.start();
  const { cluster, admin } = webhook;
  const outputs = new Map<string, string>();
  const start = await cluster.audit.mark();
  await cluster.createNamespace("app");

  const [, token = ""] =
    /"?token"?: ?"?([^"\s]+)/.exec(await Deno.readTextFile(cluster.operatorKubeconfig)) ??
      [];
  assert.ok(token.length > 100);
  plants.set("the operator's own token", token.slice(-60));

  // Sources that hold more than certificates.
  await cluster.putSecret("with-key", {
    "ca.crt": pemText(ROOT_1),
    "tls.key": keyBlock("key beside a certificate"),
  });
  await cluster.putSecret("mixed", {
    "all.pem": `${pemText(ROOT_1)}${keyBlock("key behind a certificate", "EC PRIVATE KEY")}`,
  });
  await cluster.putSecret("encrypted", {
    "all.pem": keyBlock(
      "encrypted key",
      "RSA PRIVATE KEY",
      `Proc-Type: 4,ENCRYPTED\nDEK-Info: ${plant("header")}\n\n`,
    ),
  });
  await cluster.putSecret("headers", {
    "all.pem": pemText(ROOT_1).replace("-----\n", `-----\nComment: ${plant("header of a certificate")}\n\n`),
  });
  await cluster.putSecret("garbage", {
    "all.pem": `${plant("text before")}\n-----BEGIN CERTIFICATE-----\n${
      base64(plant("no certificate"))
    }\n-----END CERTIFICATE-----\n`,
  });
  await cluster.putSecret("broken", {
    "all.pem": `${plant("text")}\n-----BEGIN PRIVATE KEY-----\n${base64(plant("broken key"))}\n${
      pemText(ROOT_1)
    }`,
  });
  await cluster.putSecret("tls", { "tls.crt": pemText(ROOT_1), "tls.key": keyBlock("key of a TLS Secret") }, {
    type: "kubernetes.io/tls",
  });
  await cluster.putSecret("credentials", { token: plant("token"), password: plant("password") });
  await cluster.putConfigMap(TRUST_NAMESPACE, "keys", {
    "ca.crt": pemText(ROOT_1),
    "tls.key": keyBlock("key in a ConfigMap"),
    "other": plant("text in a ConfigMap"),
  });
  // What others have in the targets' namespaces.
  const secrets = "/api/v1/namespaces/app/secrets";
  await admin.create(secrets, {
    metadata: { name: "with-key" },
    stringData: { theirs: plant("Secret beside a target") },
  });
  await admin.create(secrets, {
    metadata: { name: "theirs" },
    stringData: { theirs: plant("Secret of others") },
  });

  const target = { configMap: { key: "ca.pem" } };
  const inLine = (text: string): BundleSpec => ({ sources: [{ inLine: text }], target });
  const secret = (name: string, key?: string): BundleSpec => ({
    sources: [{ secret: key === undefined ? { name, includeAllKeys: true } : { name, key } }],
    target,
  });
  const specs: Record<string, BundleSpec> = {
    "with-key": secret("with-key", "ca.crt"),
    "all-keys": secret("with-key"),
    "mixed": secret("mixed", "all.pem"),
    "encrypted": secret("encrypted", "all.pem"),
    "headers": secret("headers", "all.pem"),
    "garbage": secret("garbage", "all.pem"),
    "broken": secret("broken", "all.pem"),
    "tls": secret("tls"),
    "credentials": secret("credentials"),
    "the-key": secret("with-key", "tls.key"),
    "all-secrets": { sources: [{ secret: { selector: {}, includeAllKeys: true } }], target },
    "config-map": { sources: [{ configMap: { name: "keys", includeAllKeys: true } }], target },
    "inline": inLine(pemText(ROOT_1) + keyBlock("inline key")),
    "inline-text": inLine(`${plant("inline text")}\n${pemText(ROOT_2)}`),
    "inline-garbage": inLine(
      `-----BEGIN CERTIFICATE-----\n${base64(plant("inline garbage"))}\n-----END CERTIFICATE-----\n`,
    ),
    "key-stores": {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: {
        ...target,
        additionalFormats: {
          jks: { key: "ca.jks", password: plant("password of a JKS") },
          pkcs12: { key: "ca.p12", password: plant("password of a PKCS#12 store"), profile: "Modern2023" },
        },
      },
    },
  };
  const badPasswords: BundleSpec = {
    sources: [{ inLine: pemText(ROOT_1) }],
    target: {
      ...target,
      additionalFormats: {
        pkcs12: { key: "ca.p12", password: `${plant("password that Java cannot take")}ä` },
      },
    },
  };
  const synced = ["with-key", "broken", "inline-text", "key-stores"];

  let output = "";
  await t.step("source Secrets are read in the trust namespace only, while all this goes on", async () => {
    const flags = [
      ...webhook.flags,
      "--webhook-certificate-source=self",
      "--log-level=5",
      "--log-format=json",
    ];
    await using operator = await cluster.operatorWith({ flags, wait: false });
    await webhook.admits();
    for (const [name, spec] of Object.entries(specs)) await cluster.putBundle(name, spec);
    assert.equal(await webhook.refusal(badPasswords), undefined);
    for (const name of Object.keys(specs)) {
      await cluster.condition(name, synced.includes(name) ? "True" : "False");
    }
    for (const name of synced) assert.ok((await cluster.target("app", name))?.data?.["ca.pem"]);
    const own = await admin.get<Secret>(SELF_SECRET);
    for (const key of ["ca.key", "tls.key"]) {
      // The first line is the same in all keys.
      const pem = atob(own?.data?.[key] ?? "");
      plants.set(`the webhook's ${key}`, pem.split("\n").slice(2, 4).join("\n"));
      assert.ok(pem.length > 150);
    }
    outputs.set("probes", await pages(operator.probePort));
    outputs.set("metrics", await pages(operator.metricsPort));
    assert.match(outputs.get("metrics") ?? "", /trust_manager_/);
    const ca = await webhook.caBundle();
    const reviews: [string, string][] = [
      ...Object.entries({ ...specs, badPasswords }).map(([name, spec]): [string, string] => [
        name,
        JSON.stringify(
          admissionReview({
            apiVersion: "trust.cert-manager.io/v1alpha1",
            kind: "Bundle",
            metadata: { name },
            spec,
          }),
        ),
      ]),
      ["broken JSON", `{"kind": "AdmissionReview", "request": "${plant("broken JSON")}`],
      ["another kind", JSON.stringify({ kind: plant("another kind") })],
      ["wrong types", JSON.stringify(admissionReview({ spec: { sources: plant("wrong type") } }))],
    ];
    for (const [name, body] of reviews) {
      outputs.set(`admission of ${name}`, await posted(webhook.host, webhook.port, ca, WEBHOOK_PATH, body));
    }
    outputs.set("webhook, elsewhere", await posted(webhook.host, webhook.port, ca, "/metrics", ""));
    // What goes wrong later: a store of others in the way, a key in what was good.
    await cluster.putSecret("with-key", { "ca.crt": keyBlock("key that replaces a certificate") });
    await cluster.condition("with-key", "False");
    assert.equal(await operator.stop(), 0);
    output += operator.output;
  });

  await t.step("that is what the audit log shows", async () => {
    const requests = await cluster.audit.since(start, { user: OPERATOR, resource: "secrets" });
    assert.ok(requests.some(({ verb, name }) => verb === "watch" && name === ""), "no watch was recorded");
    assert.deepEqual(requests.filter(({ namespace }) => namespace !== TRUST_NAMESPACE), []);
    // Of the webhook's own Secret there are writes; nothing else is written.
    const written = requests.filter(({ verb }) => !["get", "list", "watch"].includes(verb));
    assert.deepEqual(
      written.filter(({ name, verb }) => name !== "trust-manager-webhook" && verb !== "create"),
      [],
    );
  });

  await t.step("With Secret targets, what others have in the same Secret stays there", async () => {
    const manifest = new URL("../../deploy/rbac_secret_targets.yaml", import.meta.url);
    await admin.apply(await Deno.readTextFile(manifest));
    await admin.mergePatch(
      "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/trust-manager",
      { webhooks: null },
    );
    await using operator = await cluster.operator("--secret-targets-enabled", "--log-level=5");
    await cluster.putBundle("with-key", {
      ...inLine(pemText(ROOT_2)),
      target: { secret: { key: "ca.pem" } },
    });
    await cluster.synced("with-key");
    await cluster.putBundle("bad-password", badPasswords);
    await cluster.synced("bad-password");
    await cluster.event("bad-password", "KeyStoreNotForJava");
    const written = await admin.get<Secret>(targetPath("app", "with-key", "Secret"));
    assert.deepEqual(Object.keys(written?.data ?? {}).sort(), ["ca.pem", "theirs"]);
    outputs.set("Secret target", base64(atob(written?.data?.["ca.pem"] ?? "")));
    const read = await cluster.audit.since(start, { user: OPERATOR, resource: "secrets", verb: "get" });
    assert.deepEqual(read.filter(({ namespace }) => namespace !== TRUST_NAMESPACE), []);
    outputs.set("metrics with Secret targets", await pages(operator.metricsPort));
    assert.equal(await operator.stop(), 0);
    output += operator.output;
  });

  await t.step("A configuration that is refused is not quoted", async () => {
    const dir = await Deno.makeTempDir();
    try {
      const file = async (name: string, text: string) => {
        await Deno.writeTextFile(`${dir}/${name}`, text);
        return `${dir}/${name}`;
      };
      const flags = ["--webhook-enabled=false"];
      const kubeconfigs: Record<string, string> = {
        "broken.yaml": `users:\n- name: u\n  user: {token: [${plant("token in broken YAML")}\n`,
        "types.yaml": JSON.stringify({
          users: [{ name: "u", user: { token: { value: plant("token of a wrong type") } } }],
        }),
        "scalar.yaml": plant("kubeconfig that is a token"),
        "key.yaml": JSON.stringify({
          "current-context": "c",
          clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:1" } }],
          contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
          users: [{
            name: "u",
            user: { "client-certificate-data": "x", "client-key-data": plant("client key") },
          }],
        }),
      };
      for (const [name, text] of Object.entries(kubeconfigs)) {
        const printed = await refused(`--kubeconfig=${await file(name, text)}`, ...flags);
        assert.match(printed, /^trust-manager: /m);
        outputs.set(`with ${name}`, printed);
      }
      const packages: Record<string, string> = {
        "broken.json": `{"name": "n", "bundle": "${plant("broken package")}`,
        "key.json": JSON.stringify({
          name: "n",
          version: "v",
          bundle: pemText(ROOT_1) + keyBlock("key in a package"),
        }),
        "types.json": JSON.stringify({
          name: { a: plant("name of a wrong type") },
          version: "v",
          bundle: "",
        }),
      };
      for (const [name, text] of Object.entries(packages)) {
        const kubeconfig = `--kubeconfig=${cluster.operatorKubeconfig}`;
        const printed = await refused(
          kubeconfig,
          ...flags,
          `--default-package-location=${await file(name, text)}`,
        );
        assert.match(printed, /^trust-manager: .*[Pp]ackage/m);
        outputs.set(`with ${name}`, printed);
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });

  await t.step(
    "Nothing that was planted is in logs, events, conditions, targets, metrics, probes and answers",
    async () => {
      outputs.set("log", output);
      assert.match(output, /PRIVATE KEY/, "the log does not tell of the sources that were refused");
      const events = await admin.get<{ items: KubeObject[] }>("/apis/events.k8s.io/v1/events");
      assert.ok((events?.items.length ?? 0) > 10);
      outputs.set("events", JSON.stringify(events));
      for (const name of [...Object.keys(specs), "bad-password"]) {
        outputs.set(`status of ${name}`, JSON.stringify((await cluster.getBundle(name))?.status ?? {}));
      }
      const configMaps = await admin.get<{ items: KubeObject[] }>("/api/v1/namespaces/app/configmaps");
      assert.ok((configMaps?.items.length ?? 0) >= synced.length);
      outputs.set("targets", JSON.stringify(configMaps));
      outputs.set("lease", JSON.stringify(await admin.get("/apis/coordination.k8s.io/v1/leases")));
      assert.ok(await admin.get(bundlePath("key-stores")));
      const leaks = [...outputs].flatMap(([name, text]) => found(text).map((what) => `${what}: in ${name}`));
      assert.deepEqual(leaks, []);
    },
  );
  assert.ok(plants.size > 30, `only ${plants.size} were planted`);
});

/** What the webhook answers to a client that trusts its CA: head and body. */
function posted(host: string, port: number, ca: string, path: string, body: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const headers = { "content-type": "application/json" };
  const request = https.request(
    { host, port, path, method: "POST", servername: SERVICE_HOST, ca, headers, agent: false },
    (response) => {
      let text = `${response.statusCode} ${JSON.stringify(response.headers)} `;
      response.setEncoding("utf8");
      response.on("data", (part: string) => text += part);
      response.on("end", () => resolve(text));
    },
  );
  request.on("error", reject);
  request.end(body);
  return promise;
}
