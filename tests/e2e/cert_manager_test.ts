import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { BundleSpec } from "../../lib/api/bundle.ts";
import { ROOT_1 } from "../builders.ts";
import {
  certificatePath,
  hasCondition,
  issued,
  type IssuedSecret,
  renew,
  secretPath,
} from "../cert_manager/certificate.ts";
import { startCertManager } from "../cert_manager/run_cert_manager.ts";
import { SecretVolume } from "../cert_manager/secret_volume.ts";
import { kubectlApply } from "../cluster/kubectl.ts";
import { ChartOnControlPlane, WEBHOOK_SECRET } from "./chart_on_control_plane.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";
import { CONFIGURATION, type Configuration, servedSerial } from "./webhook_cluster.ts";

/** What the quick start of the user documentation applies. */
const EXAMPLE_CA = `
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata:
  name: trust-manager-selfsigned-issuer
spec:
  selfSigned: {}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: trust-manager-example-ca
  namespace: ${TRUST_NAMESPACE}
spec:
  isCA: true
  commonName: trust-manager-example-ca
  secretName: trust-manager-example-ca-secret
  privateKey:
    algorithm: ECDSA
    size: 256
  issuerRef:
    name: trust-manager-selfsigned-issuer
    kind: ClusterIssuer
    group: cert-manager.io
`;

/** A CA of a namespace, and a certificate that it issues. */
const TEAM_CA = `
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: team-root, namespace: ${TRUST_NAMESPACE}}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: team-ca, namespace: ${TRUST_NAMESPACE}}
spec:
  isCA: true
  commonName: team-ca
  secretName: team-ca
  issuerRef: {name: team-root, kind: Issuer}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: team-ca, namespace: ${TRUST_NAMESPACE}}
spec: {ca: {secretName: team-ca}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: team-server, namespace: ${TRUST_NAMESPACE}}
spec:
  dnsNames: [server.example.com]
  secretName: team-server
  issuerRef: {name: team-ca, kind: Issuer}
`;

const DEFAULT_CAS: BundleSpec = {
  sources: [{ useDefaultCAs: true }],
  target: { configMap: { key: "trust-bundle.pem" } },
};

/** Pauses between attempts of {@linkcode eventually}. */
const PAUSE_MS = 50;

/** Calls `attempt` until it passes. What it last failed with is thrown after a while. */
async function eventually(attempt: () => Promise<void>, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (true) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

Deno.test("with the real cert-manager", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, controlPlane } = cluster;
  await using _certManager = await startCertManager(controlPlane);
  const chart = await ChartOnControlPlane.install(cluster);
  await using volume = await SecretVolume.create();
  const packageFile = `${controlPlane.dir}/package.json`;
  await Deno.writeTextFile(
    packageFile,
    JSON.stringify({ name: "example", bundle: ROOT_1.pem, version: "1" }),
  );
  await using operator = await chart.operator(volume.dir, `--default-package-location=${packageFile}`);

  /** Waits until the injector has told the API server that CA. It keeps former ones until they expire. */
  const injected = (ca: string) =>
    admin.waitFor<Configuration>(CONFIGURATION, "has the CA", (configuration) => {
      const bundle = configuration?.webhooks[0]?.clientConfig.caBundle ?? "";
      return new TextDecoder().decode(Uint8Array.fromBase64(bundle)).includes(ca.trim());
    });

  /** Checks that the API server asks the operator about Bundles, and heeds it. */
  const asksTheOperator = async () => {
    const bundle = (spec: BundleSpec) =>
      JSON.stringify({
        apiVersion: "trust.cert-manager.io/v1alpha1",
        kind: "Bundle",
        metadata: { name: "asked" },
        spec,
      });
    await assert.rejects(
      kubectlApply(controlPlane, bundle({ sources: [{ useDefaultCAs: false }] })),
      /admission webhook "trust\.cert-manager\.io" denied the request: spec\.sources: Forbidden: must define at least one source/,
    );
    await kubectlApply(controlPlane, bundle({ sources: [{ inLine: ROOT_1.pem }] }));
    await cluster.deleteBundles("asked");
  };

  let served: IssuedSecret = { "ca.crt": "", "tls.crt": "" };
  await t.step("the chart's Issuer and Certificate give the webhook its certificate", async () => {
    served = await issued(admin, TRUST_NAMESPACE, WEBHOOK_SECRET);
    const certificate = new X509Certificate(served["tls.crt"]);
    assert.equal(certificate.subjectAltName, "DNS:trust-manager.cert-manager.svc");
    assert.equal(certificate.subject, "CN=trust-manager.cert-manager.svc");
    await operator.prints("Webhook certificate is not there yet; waiting for it");
    await volume.mount(admin, secretPath(TRUST_NAMESPACE, WEBHOOK_SECRET));
    await operator.ready();
  });

  await t.step("the injector fills the caBundle, and bad Bundles are refused", async () => {
    await injected(served["ca.crt"]);
    await asksTheOperator();
  });

  await t.step("they are after the certificate was renewed, too", async () => {
    const before = served;
    await renew(admin, TRUST_NAMESPACE, "trust-manager");
    served = await issued(admin, TRUST_NAMESPACE, WEBHOOK_SECRET, before);
    await injected(served["ca.crt"]);
    // What is served is still the former one.
    await asksTheOperator();
    await volume.mount(admin, secretPath(TRUST_NAMESPACE, WEBHOOK_SECRET));
    await eventually(async () => {
      assert.equal(
        await servedSerial(chart.host, chart.port, served["ca.crt"]),
        new X509Certificate(served["tls.crt"]).serialNumber,
      );
    });
    await asksTheOperator();
  });

  await t.step("a CA of a selfSigned Issuer, and what it issues, can be sources", async () => {
    await kubectlApply(controlPlane, TEAM_CA);
    const ca = await issued(admin, TRUST_NAMESPACE, "team-ca");
    const server = await issued(admin, TRUST_NAMESPACE, "team-server");
    assert.equal(server["ca.crt"], ca["tls.crt"]);
    await cluster.putBundle("team", {
      sources: [{ secret: { name: "team-server", key: "ca.crt" } }],
      target: { configMap: { key: "ca.crt" } },
    });
    await cluster.synced("team");
    const target = await cluster.target("default", "team");
    assert.equal(target?.data?.["ca.crt"], ca["tls.crt"].trimEnd());
    assert.ok(new X509Certificate(server["tls.crt"]).verify(new X509Certificate(ca["tls.crt"]).publicKey));
  });

  let example: IssuedSecret = { "ca.crt": "", "tls.crt": "" };
  const targetHas = (what: string, accept: (pem: string) => boolean) =>
    cluster.targetBecomes(
      "default",
      "example-bundle",
      what,
      (target) => accept(target?.data?.["trust-bundle.pem"] ?? ""),
    );

  await t.step("the quick start: the default CAs, then a CA of a ClusterIssuer as well", async () => {
    await cluster.putBundle("example-bundle", DEFAULT_CAS);
    await targetHas("has the default CAs", (pem) => pem === ROOT_1.pem);

    await kubectlApply(controlPlane, EXAMPLE_CA);
    example = await issued(admin, TRUST_NAMESPACE, "trust-manager-example-ca-secret");
    const certificate = new X509Certificate(example["tls.crt"]);
    assert.equal(certificate.publicKey.asymmetricKeyType, "ec");
    assert.ok(certificate.ca);
  });

  await t.step("the admission warns that tls.crt rotates", async () => {
    const sources = [...DEFAULT_CAS.sources, {
      secret: { name: "trust-manager-example-ca-secret", key: "tls.crt" },
    }];
    const said = await kubectlWarnings(controlPlane, { ...DEFAULT_CAS, sources });
    assert.match(
      said,
      /Warning: spec\.sources\[1\]\.secret\.key: tls\.crt of this Secret changes when .* renewed/,
    );
    assert.match(said, /copy the root into a ConfigMap/);
    await targetHas(
      "has both",
      (pem) => pem.includes(ROOT_1.pem) && pem.includes(example["tls.crt"].trimEnd()),
    );
    await cluster.synced("example-bundle");
  });

  await t.step("once it is renewed the old root is gone, and an event says so", async () => {
    const before = example;
    await renew(admin, TRUST_NAMESPACE, "trust-manager-example-ca");
    example = await issued(admin, TRUST_NAMESPACE, "trust-manager-example-ca-secret", before);
    assert.notEqual(
      new X509Certificate(example["tls.crt"]).fingerprint256,
      new X509Certificate(before["tls.crt"]).fingerprint256,
    );
    await targetHas(
      "has the new root and not the old one",
      (pem) => pem.includes(example["tls.crt"].trimEnd()) && !pem.includes(before["tls.crt"].trimEnd()),
    );
    const event = await cluster.event("example-bundle", "CertificatesRemoved");
    assert.match(event.note, /CN=trust-manager-example-ca/);
    await cluster.synced("example-bundle");
  });

  await t.step("nothing of a private key was told", async () => {
    const certificate = await admin.get(certificatePath(TRUST_NAMESPACE, "trust-manager"));
    assert.ok(hasCondition(certificate, "Ready"));
    assert.doesNotMatch(operator.output, /PRIVATE KEY/);
    assert.equal(await operator.stop(), 0);
  });
});

/** Applies `example-bundle` with kubectl and returns what it says on standard error. */
async function kubectlWarnings(
  { kubectl, kubeconfig }: TestCluster["controlPlane"],
  spec: BundleSpec,
): Promise<string> {
  const process = new Deno.Command(kubectl, {
    args: ["--kubeconfig", kubeconfig, "apply", "--server-side", "--field-manager=tests", "-f", "-"],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  const bundle = {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name: "example-bundle" },
    spec,
  };
  await writer.write(new TextEncoder().encode(JSON.stringify(bundle)));
  await writer.close();
  const [said, { success }] = await Promise.all([process.stderr.text(), process.status]);
  assert.ok(success, said);
  return said;
}
