import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import type { BundleSpec } from "../../lib/api/bundle.ts";
import { readPem } from "../../lib/certs/pem.ts";
import { systemClock } from "../../lib/clock.ts";
import { systemHost } from "../../lib/kube/host.ts";
import { createKubeClient } from "../../lib/kube/http_client.ts";
import { loadClusterConfig } from "../../lib/kube/load_config.ts";
import type { Secret } from "../../lib/kube/objects.ts";
import { createLogger } from "../../lib/log.ts";
import { Registry } from "../../lib/prometheus.ts";
import { WEBHOOK_PATH } from "../../webhook/admission_handler.ts";
import { issueCertificate } from "../../webhook/issue_certificate.ts";
import { startWebhook } from "../../webhook/server.ts";
import { ADMISSION_CASES } from "../admission_cases.ts";
import { EXPIRED, LEAF, pemText, ROOT_1 } from "../builders.ts";
import { kubectl, KubectlError } from "../cluster/kubectl.ts";
import { freePort } from "../cluster/free_ports.ts";
import { bundlePath, TRUST_NAMESPACE } from "./test_cluster.ts";
import { CONFIGURATION, SELF_SECRET, servedSerial, SERVICE_HOST, WebhookCluster } from "./webhook_cluster.ts";
import { until } from "../until.ts";

const GOOD: BundleSpec = { sources: [{ inLine: "pem" }], target: { configMap: { key: "ca.crt" } } };
const DENIED = 'admission webhook "trust.cert-manager.io" denied the request: ';

/** A CA for serving certificates, and what it issues. */
async function newCa(name: string) {
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  const ca = await issueCertificate({ commonName: name, ...validity, use: { type: "ca" } });
  const issue = async () => {
    const use = { type: "server" as const, dnsNames: [SERVICE_HOST] };
    const issuer = { commonName: name, keys: ca.keys };
    const { certificatePem, privateKeyPem } = await issueCertificate(
      { commonName: "x", ...validity, use },
      issuer,
    );
    return { certificatePem, privateKeyPem, serial: new X509Certificate(certificatePem).serialNumber };
  };
  return { pem: ca.certificatePem, issue };
}

/** Replaces both files at once, as the kubelet does. */
async function mount(dir: string, pair: { certificatePem: string; privateKeyPem: string }): Promise<void> {
  const version = await Deno.makeTempDir({ dir, prefix: ".." });
  await Deno.writeTextFile(`${version}/tls.crt`, pair.certificatePem);
  await Deno.writeTextFile(`${version}/tls.key`, pair.privateKeyPem);
  await Deno.symlink(version, `${dir}/..next`);
  await Deno.rename(`${dir}/..next`, `${dir}/..data`);
  for (const name of ["tls.crt", "tls.key"]) {
    await Deno.symlink(`..data/${name}`, `${dir}/${name}`).catch((error) => {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    });
  }
}

/**
 * Has Bundles admitted by the API server, several at a time, while `change` does its work, and at least 1,000; fails if one is not. Beside
 * each, a new TLS connection is made.
 */
async function admitWhile(
  cluster: WebhookCluster,
  trusted: () => Promise<string> | string,
  change: (served: ReadonlySet<string>) => Promise<void>,
): Promise<Set<string>> {
  const served = new Set<string>();
  let admitted = 0;
  let done = false;
  const work = async () => {
    while (admitted < 1_000 || !done) {
      admitted++;
      assert.equal(await cluster.refusal(GOOD), undefined);
      served.add(await servedSerial(cluster.host, cluster.port, await trusted()));
    }
  };
  const changes = change(served).finally(() => done = true);
  await Promise.all([changes, ...Array.from({ length: 4 }, work)]);
  return served;
}

Deno.test("the webhook, with a certificate in files", async (t) => {
  await using webhook = await WebhookCluster.start();
  const { cluster, admin } = webhook;
  const dir = await Deno.makeTempDir();
  const stored = "stored-invalid";
  const invalid: BundleSpec = { sources: [{ useDefaultCAs: true }, { useDefaultCAs: true }] };
  // Stored while there was no webhook that could be asked. The API server learns of that a little later.
  await until(async () => await webhook.refusal(invalid) !== undefined, "the API server asks the webhook");
  await admin.mergePatch(CONFIGURATION, { webhooks: null });
  await webhook.admits(invalid);
  await admin.create("/apis/trust.cert-manager.io/v1alpha1/bundles", {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name: stored, finalizers: ["example.com/wait"] },
    spec: invalid,
  });
  await admin.apply(await webhookYaml(webhook.port));
  const ca = await newCa("first");
  await webhook.injectCa(ca.pem);

  const flags = [...webhook.flags, `--webhook-certificate-dir=${dir}`];
  await using operator = await cluster.operatorWith({ flags, wait: false });

  await t.step("without a pair it is not ready, and says why", async () => {
    await operator.prints("Webhook certificate is not there yet; waiting for it");
    await operator.prints("All stores have synced");
    assert.equal(await operator.probe("/readyz"), 503);
    const response = await fetch(`http://127.0.0.1:${operator.probePort}/readyz`);
    assert.match(
      await response.text(),
      /^Cannot use tls\.crt and tls\.key in .*: there is no such file yet\n$/,
    );
    assert.equal(await operator.probe("/healthz"), 200);
  });

  let current = await ca.issue();
  await t.step("with a pair it is ready", async () => {
    await mount(dir, current);
    await operator.ready();
    await webhook.admits();
    assert.equal(await servedSerial(webhook.host, webhook.port, ca.pem), current.serial);
  });

  for (const { name, bundleName, spec, refusal, schemaRefuses } of ADMISSION_CASES) {
    if (schemaRefuses === true) continue; // These never come to the webhook; review_test.ts posts them.
    await t.step(`${name}: ${refusal === undefined ? "admitted" : "refused"}`, async () => {
      const answer = await webhook.refusal(spec, bundleName);
      assert.deepEqual(
        answer,
        refusal === undefined ? undefined : { status: 403, message: DENIED + refusal },
      );
    });
  }

  await t.step("kubectl shows the refusal, and warnings", async () => {
    const apply = (spec: BundleSpec) =>
      kubectl(cluster.controlPlane, ["apply", "-f", "-"], {
        stdin: JSON.stringify({
          apiVersion: "trust.cert-manager.io/v1alpha1",
          kind: "Bundle",
          metadata: { name: "by-kubectl" },
          spec,
        }),
      });
    await assert.rejects(apply({ sources: [{ useDefaultCAs: false }] }), (error) => {
      assert.ok(error instanceof KubectlError);
      assert.match(
        error.said,
        /denied the request: spec\.sources: Forbidden: must define at least one source/,
      );
      return true;
    });
    await cluster.putConfigMap(TRUST_NAMESPACE, "odd", { k: `\ufeff${pemText(ROOT_1)}` });
    await cluster.putBundle("other-target", {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: { configMap: { key: "k", metadata: { labels: { set: "targets" } } } },
    });
    await cluster.targetBecomes(
      TRUST_NAMESPACE,
      "other-target",
      "is there",
      (target) => target !== undefined,
    );
    const process = new Deno.Command(cluster.controlPlane.kubectl, {
      args: ["--kubeconfig", cluster.controlPlane.kubeconfig, "create", "--dry-run=server", "-f", "-"],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = process.stdin.getWriter();
    await writer.write(new TextEncoder().encode(JSON.stringify({
      apiVersion: "trust.cert-manager.io/v1alpha1",
      kind: "Bundle",
      metadata: { name: "warned" },
      spec: {
        sources: [
          { inLine: pemText(ROOT_1, LEAF, EXPIRED) },
          { secret: { name: "x", key: "tls.key" } },
          { inLine: btoa(pemText(ROOT_1)) },
          { configMap: { name: "odd", key: "k" } },
          { configMap: { selector: { matchLabels: { set: "targets" } }, includeAllKeys: true } },
        ],
        target: { configMap: { key: "k" }, namespaceSelector: { matchLabels: { no: "such" } } },
      },
    })));
    await writer.close();
    const [said, status] = await Promise.all([process.stderr.text(), process.status, process.stdout.text()]);
    assert.ok(status.success, said);
    for (
      const warning of [
        /Warning: spec\.sources\[0\]\.inLine: CN=leaf\.example\.org \(cd82c6ee\) is a leaf/,
        /Warning: spec\.sources\[0\]\.inLine: CN=Example Expired Root.* expired on 2020-01-01; remove it/,
        /Warning: spec\.sources\[1\]\.secret\.key: "tls\.key" looks like a private key/,
        /Warning: spec\.sources\[2\]\.inLine: no certificate in it: it looks like base64 of PEM; decode it/,
        /Warning: spec\.sources\[3\]\.configMap: ConfigMap odd, key "k": .* it begins with a byte order mark/,
        /Warning: spec\.sources\[4\]\.configMap\.selector: matches targets of Bundles \(other-target\)/,
        /Warning: spec\.target\.namespaceSelector: matches no namespace now/,
      ]
    ) assert.match(said, warning);
  });

  await t.step("a stored invalid Bundle still gets its status, and can be deleted", async () => {
    await cluster.condition(stored, "False");
    await admin.delete(bundlePath(stored));
    await admin.mergePatch(bundlePath(stored), { metadata: { finalizers: null } });
    await admin.waitUntilGone(bundlePath(stored));
  });

  await t.step("rotated under 1,000 admissions, none fails", async () => {
    const next = await newCa("second");
    const rotate = async (served: ReadonlySet<string>, pair: typeof current) => {
      current = pair;
      await mount(dir, current);
      await until(() => served.has(current.serial), `${current.serial} is served`);
    };
    const before = current.serial;
    const served = await admitWhile(webhook, () => ca.pem + next.pem, async (served) => {
      await until(() => served.has(before), "the first pair is served");
      for (let i = 0; i < 3; i++) await rotate(served, await ca.issue());
      // Another CA: cert-manager's injector announces both first.
      await webhook.injectCa(ca.pem + next.pem);
      await rotate(served, await next.issue());
    });
    assert.equal(served.size, 5);
  });

  await t.step("hostile clients do not keep admissions out, nor fill the memory", async () => {
    const { host, port } = webhook;
    const silent = Array.from({ length: 500 }, () => net.connect(port, host).on("error", () => {}));
    // 100 MB each, as fast as it is taken, until the server cuts it off.
    const flood = async () => {
      const socket = tls.connect({ host, port, rejectUnauthorized: false }).on("error", () => {});
      const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
      let more = () => {};
      let open = true;
      socket.on("drain", () => more());
      socket.on("close", () => {
        open = false;
        more();
      });
      socket.write(`POST ${WEBHOOK_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n`);
      socket.write("transfer-encoding: chunked\r\n\r\n");
      for (let sent = 0; sent < 100e6 && open; sent += 0x10000) {
        if (socket.write(chunk)) continue;
        const { promise, resolve } = Promise.withResolvers<void>();
        more = resolve;
        if (open) await promise;
      }
      assert.ok(!open);
    };
    const floods = Promise.all(Array.from({ length: 10 }, flood));
    for (let i = 0; i < 200; i++) assert.equal(await webhook.refusal(GOOD), undefined);
    await floods;
    silent.forEach((socket) => socket.destroy());
    const status = await Deno.readTextFile(`/proc/${operator.pid}/status`);
    const peakMb = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;

    assert.ok(peakMb < 400, `${peakMb} MB`);
  });

  await t.step("a broken pair keeps the former one, and is told", async () => {
    await mount(dir, { ...await ca.issue(), privateKeyPem: current.privateKeyPem });
    await operator.prints("Webhook certificate cannot be replaced; the former one stays in use");
    assert.match(await operator.metrics(), /^certwatcher_read_certificate_errors_total [1-9]/m);
    assert.match(
      await operator.metrics(),
      /^controller_runtime_webhook_requests_total\{.*code="200"\} \d{4}/m,
    );
    assert.equal(await operator.probe("/readyz"), 200);
    await webhook.admits();
    assert.doesNotMatch(operator.output, /PRIVATE KEY/);
  });

  await t.step("it ends when asked to", async () => assert.equal(await operator.stop(), 0));
  await Deno.remove(dir, { recursive: true });
});

async function webhookYaml(port: number): Promise<string> {
  const yaml = await Deno.readTextFile(new URL("../../deploy/webhook.yaml", import.meta.url));
  return yaml.replace("port: 443", `port: ${port}`).replace(
    "        path:",
    `        port: ${port}\n        path:`,
  );
}

/** SHA-256 of the CAs in a Secret or a bundle. */
function fingerprints(pem: string): string[] {
  const reading = readPem(new TextEncoder().encode(pem));
  assert.ok(reading.ok);
  return reading.certificates.map(({ sha256 }) => sha256);
}

Deno.test("the webhook, with a certificate of its own: two replicas", async (t) => {
  await using webhook = await WebhookCluster.start();
  const { cluster, admin } = webhook;
  const self = ["--webhook-certificate-source=self"];
  const other = { host: "127.0.0.1", port: freePort() };
  const otherFlags = [
    "--webhook-enabled=true",
    `--webhook-host=${other.host}`,
    `--webhook-port=${other.port}`,
  ];
  const values = async () => {
    const secret = await admin.get<Secret & { apiVersion: string; kind: string }>(SELF_SECRET);
    return Object.fromEntries(
      Object.entries(secret?.data ?? {}).map(([key, value]) => [
        key,
        new TextDecoder().decode(Uint8Array.fromBase64(value)),
      ]),
    );
  };
  /** Waits until both replicas serve what is in the Secret, and the API server knows its CAs. */
  const settled = async () => {
    await until(async () => {
      const stored = await values();
      const bundle = await webhook.caBundle();
      if (stored["tls.crt"] === undefined || !stored["ca.crt"] || stored["ca.crt"] !== bundle) return false;
      const serials = await Promise.all([
        servedSerial(webhook.host, webhook.port, bundle),
        servedSerial(other.host, other.port, bundle),
      ]).catch(() => []);
      return serials.length > 0 &&
        serials.every((serial) => serial === new X509Certificate(stored["tls.crt"] ?? "").serialNumber);
    }, "both replicas serve what is stored");
  };

  assert.deepEqual(await values(), {});
  const mark = await cluster.audit.mark();
  await using one = await cluster.operatorWith({ flags: [...webhook.flags, ...self], wait: false });
  await using two = await cluster.operatorWith({ flags: [...otherFlags, ...self], wait: false });

  await t.step("that start together make one CA", async () => {
    await Promise.all([one.ready(), two.ready()]);
    await settled();
    const made = [one, two].filter(({ output }) => output.includes("Made a new CA of the webhook"));
    assert.equal(made.length, 1, one.output + two.output);
    assert.equal(fingerprints(await webhook.caBundle()).length, 1);
  });

  await t.step("bad Bundles are refused, good ones admitted", async () => {
    await webhook.admits();
    const refusal = await webhook.refusal({ sources: [{ useDefaultCAs: false }] });
    assert.equal(refusal?.message, `${DENIED}spec.sources: Forbidden: must define at least one source`);
  });

  await t.step("a deleted Secret comes back, and no admission fails meanwhile", async () => {
    const before = fingerprints(await webhook.caBundle());
    await admitWhile(webhook, () => webhook.caBundle(), async () => {
      await admin.delete(SELF_SECRET);
      await settled();
    });
    const after = fingerprints(await webhook.caBundle());
    assert.equal(after.length, 2);
    assert.equal(after[1], before[0]);
  });

  await t.step("an edited Secret is repaired", async () => {
    const { "ca.crt": ca } = await values();
    await admin.mergePatch(SELF_SECRET, { data: { "tls.key": btoa("garbage"), "tls.crt": null } });
    await settled();
    assert.equal((await values())["ca.crt"], ca);
    await webhook.admits();
  });

  await t.step("an edited caBundle is repaired, and admissions work again", async () => {
    const bundle = await webhook.caBundle();
    const { pem } = await newCa("of somebody else");
    const caBundle = new TextEncoder().encode(pem).toBase64();
    await admin.request("PATCH", CONFIGURATION, {
      contentType: "application/strategic-merge-patch+json",
      body: { webhooks: [{ name: "trust.cert-manager.io", clientConfig: { caBundle } }] },
    });
    await until(async () => await webhook.caBundle() === bundle, "it is repaired");
    await webhook.admits();
  });

  await t.step("a deleted configuration is filled when it is back", async () => {
    const bundle = await webhook.caBundle();
    await admin.delete(CONFIGURATION);
    await one.prints("The API server cannot be told of the webhook's CA");
    await admin.apply(await webhookYaml(webhook.port));
    await until(async () => await webhook.caBundle() === bundle, "it is filled");
    await webhook.admits();
  });

  await t.step("a configuration without the label is left alone", async () => {
    await webhook.injectCa((await newCa("of cert-manager")).pem);
    const injected = await webhook.caBundle();
    await one.prints("does not carry the label trust.cert-manager.io/webhook-ca=self");
    assert.equal(await webhook.caBundle(), injected);
    await admin.mergePatch(CONFIGURATION, {
      metadata: { labels: { "trust.cert-manager.io/webhook-ca": "self" } },
    });
    await webhook.admits();
  });

  await t.step(
    "all that was written is that Secret and that configuration, and nothing was forbidden",
    async () => {
      const user = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
      const entries = await cluster.audit.since(mark, { user });
      const writes = entries.filter(({ verb, resource }) =>
        ["secrets", "validatingwebhookconfigurations"].includes(resource) &&
        !["get", "list", "watch"].includes(verb)
      );
      assert.deepEqual(
        [
          ...new Set(
            writes.map(({ resource, namespace, name, verb }) => `${verb} ${resource} ${namespace}/${name}`),
          ),
        ].sort(),
        [
          "patch secrets cert-manager/trust-manager-webhook",
          "patch validatingwebhookconfigurations /trust-manager",
          "update secrets cert-manager/trust-manager-webhook",
        ],
      );
      assert.deepEqual(entries.filter(({ code }) => code === 403), []);
      assert.doesNotMatch(one.output + two.output, /PRIVATE KEY/);
    },
  );

  await t.step("nothing else could have been written", async () => {
    const may = async (verb: string, group: string, resource: string, name: string) => {
      const namespace = resource === "secrets" ? TRUST_NAMESPACE : "";
      const review = await admin.create<{ status: { allowed: boolean } }>(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
          apiVersion: "authorization.k8s.io/v1",
          kind: "SubjectAccessReview",
          spec: {
            user: `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`,
            resourceAttributes: { verb, group, resource, name, namespace },
          },
        },
      );
      return review.status.allowed;
    };
    const configurations = "validatingwebhookconfigurations";
    assert.equal(await may("update", "", "secrets", "trust-manager-webhook"), true);
    assert.equal(await may("patch", "admissionregistration.k8s.io", configurations, "trust-manager"), true);
    for (const verb of ["create", "update", "patch", "delete"]) {
      for (const name of ["", "other"]) assert.equal(await may(verb, "", "secrets", name), false);
      assert.equal(await may(verb, "admissionregistration.k8s.io", configurations, "other"), false);
    }
    assert.equal(await may("delete", "", "secrets", "trust-manager-webhook"), false);
    assert.equal(await may("list", "admissionregistration.k8s.io", configurations, ""), false);
  });

  await t.step("they end when asked to", async () => {
    assert.deepEqual(await Promise.all([one.stop(), two.stop()]), [0, 0]);
  });
});

Deno.test("the webhook, with a certificate of its own: renewed under 1,000 admissions, none fails", async () => {
  await using webhook = await WebhookCluster.start();
  const { operatorKubeconfig } = webhook.cluster;
  const log: string[] = [];
  const client = { asGroups: [], kubeconfig: operatorKubeconfig };
  const config = await loadClusterConfig(client, { host: systemHost, clock: systemClock });
  const logger = createLogger({
    format: "text",
    level: 3,
    write: (line) => log.push(line),
    clock: systemClock,
  });
  const running = await startWebhook({
    host: webhook.host,
    port: webhook.port,
    minVersion: "TLSv1.2",
    certificates: {
      source: "self",
      connect: () =>
        createKubeClient(config, { clock: systemClock, random: Math.random, log: logger, userAgent: "test" }),
      namespace: TRUST_NAMESPACE,
      secretName: "trust-manager-webhook",
      serviceName: "trust-manager",
      configurationName: "trust-manager",
      times: {
        caLifetimeMs: 18_000,
        servingLifetimeMs: 12_000,
        backdateMs: 60_000,
        announceMs: 2_000,
        overlapMs: 2_000,
      },
      noticeMs: 1_000,
    },
    known: { synced: false, sources: () => [], source: () => undefined, namespaces: () => [] },
    clock: systemClock,
    random: Math.random,
    log: logger,
    registry: new Registry(),
  });
  try {
    await webhook.admits();
    const cas = new Set<string>();
    const trusted = async () => {
      const bundle = await webhook.caBundle();
      fingerprints(bundle).forEach((ca) => cas.add(ca));
      return bundle;
    };
    const served = await admitWhile(webhook, trusted, async (served) => {
      await until(
        () =>
          cas.size >= 3 && served.size >= 5 &&
          log.filter((line) => line.includes("Dropped the former CA")).length >= 2,
        "two CAs were renewed and dropped",
        90_000,
      );
    });
    assert.ok(served.size >= 5, log.join("\n"));
  } finally {
    await running.close();
  }
});
