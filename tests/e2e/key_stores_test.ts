import assert from "node:assert/strict";
import {
  type AdditionalFormats,
  type BundleSpec,
  LAYOUT_ANNOTATION,
  type TargetKind,
} from "../../lib/api/bundle.ts";
import type { Certificate } from "../../lib/certs/certificate.ts";
import { Tag } from "../../lib/certs/der.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { readPem } from "../../lib/certs/pem.ts";
import { pemOf } from "../../lib/certs/pem_of.ts";
import { encodeKeyStore, type KeyStoreOptions } from "../../lib/formats/encode_key_store.ts";
import { targetHash } from "../../lib/hash.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { canonicalPem, parsed, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { type AuditMark, WRITES } from "../cluster/audit.ts";
import { patched, SYSTEM_BUNDLE, tlv } from "../oracles/corpus.ts";
import { readWithKeytool, readWithOpenssl } from "../oracles/read_key_store.ts";
import { startPeer } from "../peer/run_peer.ts";
import { until } from "../until.ts";
import { bundlePath, targetPath, TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const PEM_KEY = "ca.pem";
const KINDS: readonly TargetKind[] = ["ConfigMap", "Secret"];
const PROFILES = ["LegacyRC2", "LegacyDES", "Modern2023"] as const;

/** Targets in one namespace. */
const IN_APP = { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "app" } } };

/** A Bundle whose targets, of both kinds, hold key stores. */
function specOf(sources: BundleSpec["sources"], additionalFormats?: AdditionalFormats): BundleSpec {
  return {
    sources,
    target: {
      configMap: { key: PEM_KEY },
      secret: { key: PEM_KEY },
      ...IN_APP,
      ...(additionalFormats && { additionalFormats }),
    },
  };
}

/** What a target holds, by key, and that text is where it belongs. */
function contentOf(kind: TargetKind, target: ConfigMap | undefined): Map<string, Uint8Array> {
  assert.ok(target !== undefined, `There is no ${kind}`);
  const { data = {}, binaryData = {} } = target;
  if (kind === "ConfigMap") assert.deepEqual(Object.keys(data), [PEM_KEY]);
  else assert.deepEqual(binaryData, {});
  const encoded = kind === "ConfigMap" ? binaryData : data;
  const content = new Map(Object.entries(encoded).map(([key, text]) => [key, Uint8Array.fromBase64(text)]));
  if (kind === "ConfigMap") content.set(PEM_KEY, new TextEncoder().encode(data[PEM_KEY]));
  return content;
}

/** Reads a store back with Java's keytool and, if it is PKCS#12, openssl: all certificates with the right password, none with another. */
async function assertReadable(
  store: Uint8Array,
  options: KeyStoreOptions,
  certificates: readonly Certificate[],
): Promise<void> {
  const { format, password, profile = "LegacyRC2" } = options;
  const { stdout, code } = await readWithKeytool(store, format, password);
  assert.equal(code, 0, stdout);
  assert.equal(stdout.match(/, trustedCertEntry,/g)?.length, certificates.length, stdout);
  const fingerprints = stdout.match(/(?<=\(SHA-256\): )\S+/g)?.map((text) =>
    text.replaceAll(":", "").toLowerCase()
  );
  assert.deepEqual(fingerprints?.sort(), certificates.map(({ sha256 }) => sha256));
  if (password !== "") {
    const wrong = await readWithKeytool(store, format, "mistaken");
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.stdout, /password was incorrect/);
  }
  if (format === "jks") return;
  const flags = profile === "LegacyRC2" ? ["-legacy"] : [];
  const listed = await readWithOpenssl(store, password, ...flags);
  const reading = readPem(new TextEncoder().encode(listed.stdout));
  assert.ok(reading.ok && listed.code === 0, listed.stderr);
  assert.equal(pemOf(reading.certificates), pemOf(certificates));
  if (password === "") return;
  const wrong = await readWithOpenssl(store, "mistaken", ...flags);
  assert.notEqual(wrong.code, 0);
  assert.match(wrong.stderr, /Mac verify error/);
}

/** Certificates that differ in nothing but their serial number. */
function manyCertificates(count: number): Certificate[] {
  const [root] = parsed(ROOT_1);
  assert.ok(root !== undefined);
  return Array.from({ length: count }, (_, i) => {
    const serial = tlv(Tag.integer, [1, i >> 8, i & 0xff]);
    return parseCertificate(patched(root.der, (parts) => parts.with(1, serial)));
  });
}

/** The operator's writes since `mark`, but for its lease. */
async function writesSince({ audit }: TestCluster, mark: AuditMark): Promise<string[]> {
  const user = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
  const entries = (await audit.since(mark, { user, verb: WRITES }))
    .filter(({ resource }) => resource !== "leases");
  return entries.map(({ verb, resource, subresource, name }) =>
    `${verb} ${resource}${subresource && `/${subresource}`} ${name}`
  );
}

Deno.test("Key stores are kept in sync", async (t) => {
  await using cluster = await TestCluster.start({ secretTargets: true });
  const { admin, audit } = cluster;
  await cluster.createNamespace("app");
  const pool = parsed(ROOT_1, ROOT_2);
  const sources = [{ inLine: pemText(ROOT_2, ROOT_1) }];
  const jks = (password = "changeit"): KeyStoreOptions => ({ format: "jks", password });
  const pkcs12 = (password = "", profile?: typeof PROFILES[number]): KeyStoreOptions => ({
    format: "pkcs12",
    password,
    ...(profile && { profile }),
  });
  const read = async (kind: TargetKind, bundle: string) =>
    contentOf(kind, await cluster.target("app", bundle, kind));
  const passwords = {
    jks: "first-jks-Password",
    pkcs12: "first-p12-Password",
    notForJava: "pässword-not-for-java",
    beyondBmp: "beyond😀the-bmp",
  };

  let operator = await cluster.operator("--secret-targets-enabled");
  let output = "";
  const restart = async () => {
    assert.equal(await operator.stop(), 0);
    output += operator.output;
    operator = await cluster.operator("--secret-targets-enabled");
  };

  try {
    await t.step("Java and openssl read what ConfigMap and Secret hold, public CAs too", async () => {
      const debian = await Deno.readTextFile(SYSTEM_BUNDLE);
      await cluster.putConfigMap(TRUST_NAMESPACE, "debian", { "ca.crt": debian });
      const reading = readPem(new TextEncoder().encode(debian));
      assert.ok(reading.ok);
      const all = reading.certificates.toSorted((a, b) => a.sha256 < b.sha256 ? -1 : 1);
      await cluster.putBundle(
        "debian",
        specOf([{ configMap: { name: "debian", key: "ca.crt" } }], {
          jks: { key: "store.jks" },
          pkcs12: { key: "store.p12", password: passwords.pkcs12, profile: "Modern2023" },
        }),
      );
      await cluster.synced("debian");
      const held = await read("ConfigMap", "debian");
      assert.deepEqual([...held.keys()].sort(), [PEM_KEY, "store.jks", "store.p12"]);
      assert.deepEqual(await read("Secret", "debian"), held);
      await assertReadable(held.get("store.jks") ?? new Uint8Array(), jks(), all);
      await assertReadable(
        held.get("store.p12") ?? new Uint8Array(),
        pkcs12(passwords.pkcs12, "Modern2023"),
        all,
      );
      await cluster.deleteBundles("debian");
    });

    const changes: [what: string, formats: AdditionalFormats | undefined, Record<string, KeyStoreOptions>][] =
      [
        ["no formats", undefined, {}],
        ["JKS added", { jks: { key: "j" } }, { j: jks() }],
        ["PKCS#12 added", { jks: { key: "j" }, pkcs12: { key: "p" } }, { j: jks(), p: pkcs12() }],
        ["JKS password changed", { jks: { key: "j", password: passwords.jks }, pkcs12: { key: "p" } }, {
          j: jks(passwords.jks),
          p: pkcs12(),
        }],
        ["JKS removed, PKCS#12 password added", { pkcs12: { key: "p", password: passwords.pkcs12 } }, {
          p: pkcs12(passwords.pkcs12),
        }],
        ...(["LegacyDES", "Modern2023", "LegacyRC2"] as const).map((
          profile,
        ): [string, AdditionalFormats, Record<string, KeyStoreOptions>] => [
          `profile changed to ${profile}`,
          { pkcs12: { key: "p", password: passwords.pkcs12, profile } },
          { p: pkcs12(passwords.pkcs12, profile) },
        ]),
        ["key changed", { pkcs12: { key: "q", password: passwords.pkcs12, profile: "LegacyRC2" } }, {
          q: pkcs12(passwords.pkcs12),
        }],
        ["PKCS#12 removed", undefined, {}],
        ["both added", { jks: { key: "j" }, pkcs12: { key: "p", password: passwords.pkcs12 } }, {
          j: jks(),
          p: pkcs12(passwords.pkcs12),
        }],
      ];
    for (const [what, formats, stores] of changes) {
      await t.step(`A change of formats costs one write a target: ${what}`, async () => {
        const before = await cluster.target("app", "formats");
        const known = before === undefined ? new Map() : contentOf("ConfigMap", before);
        const mark = await audit.mark();
        await cluster.putBundle("formats", specOf(sources, formats));
        await cluster.synced("formats");
        const wanted = [
          "patch bundles/status formats",
          "patch configmaps formats",
          "patch secrets formats",
        ];
        let writes: string[] = [];
        // What a write has changed is there before the write is logged.
        await until(async () => {
          writes = (await writesSince(cluster, mark)).filter((write) => write.startsWith("patch "));
          return writes.length >= wanted.length;
        }, () => `all writes are logged; only these were: ${writes}`);
        assert.deepEqual(writes.sort(), wanted);
        const target = await cluster.target("app", "formats");
        assert.equal(
          target?.metadata.annotations?.["trust.cert-manager.io/hash"],
          targetHash(canonicalPem(ROOT_1, ROOT_2), formats, undefined),
        );
        const held = contentOf("ConfigMap", target);
        assert.deepEqual(await read("Secret", "formats"), held);
        assert.deepEqual([...held.keys()].sort(), [PEM_KEY, ...Object.keys(stores)].sort());
        for (const [key, options] of Object.entries(stores)) {
          const store = held.get(key) ?? new Uint8Array();
          assert.equal(store.toHex(), encodeKeyStore(pool, options).toHex(), key);
          if (known.get(key)?.toHex() !== store.toHex()) await assertReadable(store, options, pool);
        }
      });
    }

    await t.step("A restart writes nothing, and makes the same bytes anew", async () => {
      const versions = () =>
        Promise.all(
          KINDS.map(async (kind) => (await cluster.target("app", "formats", kind))?.metadata.resourceVersion),
        );
      const before = await versions();
      const held = await read("ConfigMap", "formats");
      const mark = await audit.mark();
      await restart();
      await operator.prints(/Resolved Bundle" .*bundle=formats .*pendingTargets=0/);
      // A Bundle of its own that comes later: what the others needed was done before it.
      await cluster.putBundle("later", { sources, target: { configMap: { key: PEM_KEY }, ...IN_APP } });
      await cluster.synced("later");
      const writes = (await writesSince(cluster, mark)).filter((write) => !/ later$|events/.test(write));
      assert.deepEqual(writes, []);
      assert.deepEqual(await versions(), before);

      for (const kind of KINDS) {
        const uid = (await cluster.target("app", "formats", kind))?.metadata.uid;
        await admin.delete(targetPath("app", "formats", kind));
        const made = await cluster.targetBecomes(
          "app",
          "formats",
          "is made anew",
          (target) => target !== undefined && target.metadata.uid !== uid,
          kind,
        );
        assert.deepEqual(contentOf(kind, made), held);
      }
    });

    await t.step(
      "A password that Java cannot take is told, and all formats are kept current all the same",
      async () => {
        const rows: [NonNullable<AdditionalFormats["pkcs12"]>, position: number][] = [
          ...PROFILES.map((profile): [NonNullable<AdditionalFormats["pkcs12"]>, number] => [{
            key: "p",
            password: passwords.notForJava,
            profile,
          }, 2]),
          [{ key: "p", password: passwords.beyondBmp }, 7],
          [{ key: "p", password: "tab\tin-it" }, 4],
        ];
        for (const [formats, position] of rows) {
          const { profile = "LegacyRC2", password = "" } = formats;
          for (const certificates of [[ROOT_1, ROOT_2], [ROOT_2]]) {
            // The second is a rotation that takes a CA away.
            await cluster.putBundle(
              "formats",
              specOf([{ inLine: pemText(...certificates) }], { pkcs12: formats }),
            );
            await cluster.synced("formats");
            for (const kind of KINDS) {
              const held = await read(kind, "formats");
              assert.equal(new TextDecoder().decode(held.get(PEM_KEY)), canonicalPem(...certificates));
              const listed = await readWithOpenssl(
                held.get("p") ?? new Uint8Array(),
                password,
                ...(profile === "LegacyRC2" ? ["-legacy"] : []),
              );
              const reading = readPem(new TextEncoder().encode(listed.stdout));
              assert.ok(reading.ok && listed.code === 0, listed.stderr);
              assert.equal(pemOf(reading.certificates), canonicalPem(...certificates));
            }
          }
          await cluster.event(
            "formats",
            "KeyStoreNotForJava",
            'Java cannot open the PKCS#12 store at key "p", though others such as OpenSSL can: its password has a character other ' +
              `than printable ASCII at position ${position}. Use a password of printable ASCII`,
          );
        }
        await cluster.putBundle(
          "formats",
          specOf(sources, { jks: { key: "j", password: passwords.notForJava } }),
        );
        await cluster.synced("formats");
        await cluster.event(
          "formats",
          "KeyStoreNotForJava",
          'Java opens the JKS at key "j" only if it is given no password: its password has a character other than ASCII at ' +
            "position 2. Use a password of ASCII",
        );
        const events = (await cluster.events("formats")).filter(({ reason }) =>
          reason === "KeyStoreNotForJava"
        );
        assert.equal(events.length, 4, "one for each thing that is to be told");
      },
    );

    await t.step("A target that would be too large with its key stores is told, key by key", async () => {
      // Each of the three takes between 400 and 500 kB: two fit into one object, and three do not.
      const many = manyCertificates(780);
      await cluster.putConfigMap(TRUST_NAMESPACE, "many", { "ca.crt": pemOf(many) });
      const large = (formats?: AdditionalFormats) =>
        specOf([{ configMap: { name: "many", key: "ca.crt" } }], formats);
      await cluster.putBundle("large", large({ jks: { key: "store.jks" } }));
      await cluster.synced("large");
      const before = await Promise.all(KINDS.map((kind) => cluster.target("app", "large", kind)));
      const held = await read("ConfigMap", "large");

      await cluster.putBundle(
        "large",
        large({ jks: { key: "store.jks" }, pkcs12: { key: "store.p12", password: passwords.pkcs12 } }),
      );
      const { reason, message } = await cluster.condition("large", "False");
      assert.equal(reason, "SyncConfigMapTargetFailed");
      const sorted = many.toSorted((a, b) => a.sha256 < b.sha256 ? -1 : 1);
      const sizes = [
        held.get(PEM_KEY)?.length ?? 0,
        held.get("store.jks")?.length ?? 0,
        encodeKeyStore(sorted, pkcs12(passwords.pkcs12)).length,
      ] as const;
      const sum = sizes.reduce((a, b) => a + b, 0);
      assert.ok(sizes[0] + sizes[1] < 1048576 && sum > 1048576, `${sizes}`);
      assert.equal(
        message,
        `Failed to sync bundle ConfigMap to any namespace: the target would hold ${sum} bytes (${PEM_KEY}: ${
          sizes[0]
        }, ` +
          `store.jks: ${sizes[1]}, store.p12: ${
            sizes[2]
          }), more than the 1048576 that the API server allows; ` +
          "remove sources or formats, or split the Bundle",
      );
      await cluster.event("large", reason, message);
      assert.deepEqual(await Promise.all(KINDS.map((kind) => cluster.target("app", "large", kind))), before);

      await cluster.putBundle("large", large({ pkcs12: { key: "store.p12", password: passwords.pkcs12 } }));
      await cluster.synced("large");
      assert.deepEqual([...(await read("Secret", "large")).keys()].sort(), [PEM_KEY, "store.p12"]);
    });

    await t.step("No password is in a log, an event, a status, a metric or a target", async () => {
      const told = [output + operator.output, await operator.metrics()];
      for (const name of ["debian", "formats", "later", "large"]) {
        told.push(JSON.stringify(await cluster.events(name)));
        told.push(JSON.stringify((await cluster.getBundle(name))?.status ?? {}));
        for (const kind of KINDS) told.push(JSON.stringify(await cluster.target("app", name, kind) ?? {}));
      }
      assert.ok(told.every((text) => text.length > 1) && output.includes("Synced Bundle"));
      for (const password of [...Object.values(passwords), "tab\\tin-it", "tab\tin-it"]) {
        assert.ok(!told.some((text) => text.includes(password)), password);
      }
    });
  } finally {
    await operator[Symbol.asyncDispose]();
  }
});

Deno.test("Targets with key stores go from the Go project to this one and back, and none is written", async (t) => {
  await using cluster = await TestCluster.start({ secretTargets: true });
  const { admin, audit, operatorKubeconfig: kubeconfig } = cluster;
  await cluster.createNamespace("app");
  await cluster.putConfigMap(TRUST_NAMESPACE, "source", {
    "ca.crt": pemText(ROOT_2, ROOT_1),
    "debian.crt": await Deno.readTextFile(SYSTEM_BUNDLE),
  });
  const formats: Record<string, AdditionalFormats> = {
    "jks": { jks: { key: "j" } },
    "jks-password": { jks: { key: "j", password: "some Password" } },
    "jks-umlaut": { jks: { key: "j", password: "pässword" } },
    "pkcs12": { pkcs12: { key: "p" } },
    "pkcs12-password": { pkcs12: { key: "p", password: "some Password" } },
    "both": { jks: { key: "j", password: "one" }, pkcs12: { key: "p", password: "other" } },
  };
  for (const profile of PROFILES) {
    const name = `pkcs12-${profile.toLowerCase()}`;
    formats[name] = { pkcs12: { key: "p", profile } };
    formats[`${name}-password`] = { pkcs12: { key: "p", password: "some Password", profile } };
    formats[`${name}-umlaut`] = { pkcs12: { key: "p", password: "pässword日本", profile } };
  }
  const names = Object.keys(formats);
  const targets = async () => {
    const found: Record<string, ConfigMap | undefined> = {};
    for (const name of names) {
      for (const kind of KINDS) found[`${kind}/${name}`] = await cluster.target("app", name, kind);
    }
    return found;
  };
  /** Waits for a Bundle that comes after all others: what those needed has been done before it. */
  const syncLater = async (name: string) => {
    await cluster.putBundle(name, specOf([{ inLine: pemText(ROOT_1) }]));
    await cluster.synced(name);
  };
  const writesBut = async (mark: AuditMark, later: string) =>
    (await writesSince(cluster, mark)).filter((write) =>
      / (configmaps|secrets|bundles\/status) /.test(write) && !write.endsWith(` ${later}`)
    );

  let byPeer: Record<string, ConfigMap | undefined> = {};
  await t.step("From the Go project to this one", async () => {
    {
      await using _peer = await startPeer({ kubeconfig, args: ["--secret-targets-enabled"] });
      for (const name of names) {
        await cluster.putBundle(
          name,
          specOf([{ configMap: { name: "source", includeAllKeys: true } }], formats[name]),
        );
      }
      // It is limited to 5 requests a second.
      for (const name of names) await cluster.synced(name);
    }
    byPeer = await targets();
    const mark = await audit.mark();
    await using operator = await cluster.operator("--secret-targets-enabled");
    for (const name of names) {
      await operator.prints(new RegExp(`Resolved Bundle" .*bundle=${name} .*pendingTargets=0`));
    }
    await syncLater("later-1");
    assert.deepEqual(await writesBut(mark, "later-1"), []);
    assert.deepEqual(await targets(), byPeer);
    assert.equal(await operator.stop(), 0);
  });

  await t.step("From this one to the Go project", async () => {
    for (const name of names) {
      for (const kind of KINDS) await admin.delete(targetPath("app", name, kind));
    }
    {
      await using operator = await cluster.operator("--secret-targets-enabled");
      for (const name of names) {
        for (const kind of KINDS) {
          await cluster.targetBecomes("app", name, "is made anew", (target) => target !== undefined, kind);
        }
      }
      assert.equal(await operator.stop(), 0);
    }
    const before = await targets();
    for (
      const [target, { metadata: theirs, ...peers } = { metadata: { name: "" } }] of Object.entries(byPeer)
    ) {
      const { metadata: ours, ...content } = before[target] ?? { metadata: { name: "" } };
      // The Go project does not have the annotation of what its hash does not tell (ADR 21).
      const { [LAYOUT_ANNOTATION]: layout, ...annotations } = ours.annotations ?? {};
      assert.match(layout ?? "", /^[0-9a-f]{16}$/);
      assert.deepEqual([ours.labels, annotations], [theirs.labels, theirs.annotations], target);
      // Where no random number is in it, the content is the same to the byte.
      const name = target.split("/")[1] ?? "";
      const random = formats[name]?.pkcs12?.password !== undefined;
      if (!random) assert.deepEqual(content, peers, target);
    }
    const mark = await audit.mark();
    await using _peer = await startPeer({ kubeconfig, args: ["--secret-targets-enabled"] });
    await syncLater("later-2");
    assert.deepEqual(await writesBut(mark, "later-2"), []);
    assert.deepEqual(await targets(), before);
  });

  await t.step("A rotation then reaches every target, whatever its password", async () => {
    await using operator = await cluster.operator("--secret-targets-enabled");
    await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_2) });
    for (const name of names) {
      for (const kind of KINDS) {
        await cluster.targetBecomes(
          "app",
          name,
          "holds the one certificate that is left",
          (target) => new TextDecoder().decode(contentOf(kind, target).get(PEM_KEY)) === canonicalPem(ROOT_2),
          kind,
        );
      }
    }
    assert.equal(await operator.stop(), 0);
  });

  await t.step("No target differs in its keys from what is asked for", async () => {
    for (const name of names) {
      for (const kind of KINDS) {
        const held = contentOf(kind, await cluster.target("app", name, kind));
        const { jks, pkcs12 } = formats[name] ?? {};
        const keys = [PEM_KEY, jks?.key, pkcs12?.key].filter((key) => key !== undefined);
        assert.deepEqual([...held.keys()].sort(), keys.sort(), bundlePath(name));
      }
    }
  });
});

Deno.test("Roots with a negative serial number are in PEM and key stores if they are allowed, and refused if not", async (t) => {
  await using cluster = await TestCluster.start();
  await cluster.createNamespace("app");
  const file = (name: string) =>
    Deno.readTextFile(new URL(`../../lib/certs/testdata/${name}.pem`, import.meta.url));
  const text = await file("negative_serial") + await file("ec_acc");
  const reading = readPem(new TextEncoder().encode(text), { allowNegativeSerialNumbers: true });
  assert.ok(reading.ok);
  const all = reading.certificates.toSorted((a, b) => a.sha256 < b.sha256 ? -1 : 1);
  assert.equal(all.length, 2);
  await cluster.putBundle("negative", {
    sources: [{ inLine: text }],
    target: {
      configMap: { key: PEM_KEY },
      ...IN_APP,
      additionalFormats: {
        jks: { key: "j" },
        pkcs12: { key: "p", password: "changeit", profile: "Modern2023" },
      },
    },
  });

  await t.step("without the flag the source is refused", async () => {
    await using operator = await cluster.operator();
    const { message } = await cluster.condition("negative", "False");
    assert.match(message, /invalid PEM certificate: x509: negative serial number$/);
    assert.equal(await operator.stop(), 0);
  });

  await t.step("with it, Java and openssl read them", async () => {
    await using _operator = await cluster.operator("--allow-negative-serial-numbers");
    await cluster.synced("negative");
    const held = contentOf("ConfigMap", await cluster.target("app", "negative"));
    assert.equal(new TextDecoder().decode(held.get(PEM_KEY)), pemOf(all));
    for (const [key, format] of [["j", "jks"], ["p", "pkcs12"]] as const) {
      const { stdout, code } = await readWithKeytool(held.get(key) ?? new Uint8Array(), format, "changeit");
      assert.equal(code, 0, stdout);
      for (const { sha256 } of all) {
        assert.ok(stdout.includes(sha256.toUpperCase().match(/../g)?.join(":") ?? "none"), stdout);
      }
    }
    const listed = await readWithOpenssl(held.get("p") ?? new Uint8Array(), "changeit");
    assert.equal(listed.stdout.match(/BEGIN CERTIFICATE/g)?.length, 2, listed.stderr);
  });
});
