import assert from "node:assert/strict";
import type { Certificate } from "../../lib/certs/certificate.ts";
import { CertificateError } from "../../lib/certs/certificate_error.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { pemOf } from "../../lib/certs/pem_of.ts";
import { poolOf } from "../../lib/certs/pool.ts";
import { readPem } from "../../lib/certs/pem.ts";
import { encodeKeyStore, type KeyStoreOptions } from "../../lib/formats/encode_key_store.ts";
import { javaProblem } from "../../lib/formats/java_problem.ts";
import { encodeJks } from "../../lib/formats/jks.ts";
import { encodePkcs12, type Pkcs12Profile } from "../../lib/formats/pkcs12.ts";
import { makeCertificate, makeServerCertificate, oddCertificates, seeded, SYSTEM_BUNDLE } from "./corpus.ts";
import { askOracle, type OracleRequest } from "./oracle.ts";
import { readWithKeytool, readWithOpenssl } from "./read_key_store.ts";

const PROFILES: readonly Pkcs12Profile[] = ["LegacyRC2", "LegacyDES", "Modern2023"];

/** Every kind of key store. */
const STORES: readonly (KeyStoreOptions & { readonly name: string })[] = [
  { name: "JKS", format: "jks", password: "changeit" },
  ...PROFILES.map((profile) => ({
    name: `PKCS#12 ${profile}`,
    format: "pkcs12" as const,
    password: "changeit",
    profile,
  })),
  { name: "PKCS#12 without password", format: "pkcs12", password: "" },
];

async function systemPool(): Promise<readonly Certificate[]> {
  const result = readPem(await Deno.readFile(SYSTEM_BUNDLE));
  assert.ok(result.ok);
  return poolOf([result.certificates], {}).certificates;
}

/** The odd certificates that can be read, each with its name. */
async function oddPool(): Promise<{ name: string; certificate: Certificate }[]> {
  return (await oddCertificates()).flatMap(({ name, der }) => {
    try {
      return [{ name, certificate: parseCertificate(der) }];
    } catch (error) {
      assert.ok(error instanceof CertificateError);
      return [];
    }
  });
}

/** What is written for one of the samples below, and what Go is asked for it. */
interface Golden {
  readonly name: string;
  readonly ours: Uint8Array;
  readonly request: OracleRequest;
}

/** Each kind of store, with the same random numbers for Go and for us. */
function goldens(name: string, certificates: readonly Certificate[], password: string): Golden[] {
  const next = seeded(certificates.length);
  const random = Uint8Array.from({ length: 48 }, () => next(256));
  const ders = certificates.map(({ der }) => der);
  const request = (format: "jks" | "Passwordless" | Pkcs12Profile, password: string) => ({
    keyStore: { format, password, certificates: ders, random },
  });
  // Go draws the key's salt, the IV if there is one, and the salt of the MAC, one after the other.
  const legacy = { encryption: random.subarray(0, 8), iv: new Uint8Array(), mac: random.subarray(8, 16) };
  const modern = {
    encryption: random.subarray(0, 16),
    iv: random.subarray(16, 32),
    mac: random.subarray(32, 48),
  };
  return [
    { name: `${name}, JKS`, ours: encodeJks(certificates, password), request: request("jks", password) },
    {
      name: `${name}, without password`,
      ours: encodePkcs12(certificates, "", "Modern2023"),
      request: request("Passwordless", ""),
    },
    ...PROFILES.map((profile) => ({
      name: `${name}, ${profile}`,
      ours: encodePkcs12(certificates, password, profile, profile === "Modern2023" ? modern : legacy),
      request: request(profile, password),
    })),
  ];
}

async function assertGolden(samples: readonly Golden[]): Promise<void> {
  const answers = await askOracle(samples.map(({ request }) => request));
  for (const [i, { name, ours }] of samples.entries()) {
    assert.equal(answers[i]?.error, undefined, name);
    assert.ok(answers[i]?.bytes === ours.toBase64(), `${name}: bytes differ from Go's`);
  }
}

Deno.test("stores of the system's certificates equal those of the Go project's libraries, byte for byte", async () => {
  await assertGolden(goldens("system", await systemPool(), "changeit"));
});

Deno.test("stores of odd certificates equal those of the Go project's libraries, byte for byte", async () => {
  const inGo = (await oddPool()).filter(({ name }) => name !== "UTF-8 subject"); // has a character that Go's lack
  assert.ok(inGo.length > 100);
  const all = poolOf([inGo.map(({ certificate }) => certificate)], {}).certificates;
  await assertGolden([
    ...inGo.slice(0, 30).flatMap(({ name, certificate }) => goldens(name, [certificate], "changeit")),
    ...goldens("all together", all, "changeit"),
    ...goldens("none", [], "changeit"),
    ...["p", "ä", "日本", " ", "x".repeat(31), "x".repeat(32), "x".repeat(128)]
      .flatMap((password) => goldens(`password of ${password.length}`, all.slice(0, 2), password)),
  ]);
});

/** Runs `body` with a folder of its own, which is removed afterwards. */
async function withFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    return await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const typeOf = ({ format }: KeyStoreOptions) => format === "jks" ? "JKS" : "PKCS12";

Deno.test("keytool lists each store with the right password and refuses a wrong one", async (t) => {
  const certificates = await systemPool();
  for (const store of STORES) {
    await t.step(store.name, async () => {
      const bytes = encodeKeyStore(certificates, store);
      const { stdout } = await readWithKeytool(bytes, store.format, store.password);
      assert.match(stdout, new RegExp(`Your keystore contains ${certificates.length} entries`));
      assert.equal(stdout.match(/, trustedCertEntry,/g)?.length, certificates.length);
      assert.match(stdout, /^[0-9a-f]{8}\|cn=isrg root x1,o=internet security research group,c=us, /m);
      for (const { sha256 } of certificates) {
        const fingerprint = sha256.toUpperCase().match(/../g)?.join(":") ?? "";
        assert.ok(stdout.includes(`(SHA-256): ${fingerprint}`), fingerprint);
      }
      if (store.password === "") return; // there is nothing to check a password against
      const wrong = await readWithKeytool(bytes, store.format, "mistaken");
      assert.notEqual(wrong.code, 0);
      assert.match(wrong.stdout, /password was incorrect/);
    });
  }
});

Deno.test("openssl reads each PKCS#12 store with the right password and refuses a wrong one", async (t) => {
  const certificates = await systemPool();
  const algorithms: Record<string, RegExp> = {
    "PKCS#12 LegacyRC2": /MAC: sha1, Iteration 1\n.*pbeWithSHA1And40BitRC2-CBC, Iteration 2048\n/s,
    "PKCS#12 LegacyDES": /MAC: sha1, Iteration 1\n.*pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048\n/s,
    "PKCS#12 Modern2023":
      /MAC: sha256, Iteration 2048\n.*PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256\n/s,
    "PKCS#12 without password": /MAC is absent!\nPKCS7 Data\n/,
  };
  for (const store of STORES.filter(({ format }) => format === "pkcs12")) {
    await t.step(store.name, async () => {
      const bytes = encodeKeyStore(certificates, store);
      const flags = store.profile === "LegacyRC2" ? ["-legacy"] : [];
      const { stdout, stderr, code } = await readWithOpenssl(bytes, store.password, ...flags);
      assert.equal(code, 0, stderr);
      assert.match(stderr, algorithms[store.name] ?? /unknown/);
      const listed = readPem(new TextEncoder().encode(stdout));
      assert.ok(listed.ok);
      assert.equal(pemOf(listed.certificates), pemOf(certificates));
      assert.match(
        stdout,
        /friendlyName: [0-9a-f]{8}\|CN=ISRG Root X1,O=Internet Security Research Group,C=US\n/,
      );
      if (store.password === "") return;
      const wrong = await readWithOpenssl(bytes, "mistaken", ...flags);
      assert.notEqual(wrong.code, 0);
      assert.match(wrong.stderr, /Mac verify error/);
    });
  }
});

Deno.test("passwords beyond printable ASCII: openssl opens the store, Java does not, Go writes the same or nothing", async (t) => {
  const certificates = (await systemPool()).slice(0, 3);
  const random = new Uint8Array(48);
  for (
    const [password, goFails] of [["pässword", false], ["日本", false], ["tab\t", false], [
      "😀",
      true,
    ]] as const
  ) {
    for (const profile of PROFILES) {
      await t.step(`${JSON.stringify(password)}, ${profile}`, async () => {
        const store = encodeKeyStore(certificates, { format: "pkcs12", password, profile });
        const flags = profile === "LegacyRC2" ? ["-legacy"] : [];
        const { stdout, stderr, code } = await readWithOpenssl(store, password, ...flags);
        assert.equal(code, 0, stderr);
        const listed = readPem(new TextEncoder().encode(stdout));
        assert.ok(listed.ok);
        assert.equal(pemOf(listed.certificates), pemOf(certificates));
        const wrong = await readWithOpenssl(store, "mistaken", ...flags);
        assert.match(wrong.stderr, /Mac verify error/);

        const java = await readWithKeytool(store, "pkcs12", password);
        assert.notEqual(java.code, 0);

        const ders = certificates.map(({ der }) => der);
        const [go] = await askOracle([{
          keyStore: { format: profile, password, certificates: ders, random },
        }]);
        if (goFails) {
          assert.match(go?.error ?? "", /string contains characters that cannot be encoded in UCS-2/);
          return;
        }
        const length = profile === "Modern2023" ? 16 : 8;
        const salt = random.subarray(0, length);
        const ours = encodePkcs12(certificates, password, profile, {
          encryption: salt,
          iv: random.subarray(0, 16),
          mac: salt,
        });
        assert.equal(go?.bytes, ours.toBase64());
      });
    }
  }
});

/** What `TrustStore.java` answers. */
async function askJava(requests: readonly (readonly (string | number)[])[]): Promise<string[]> {
  const program = new URL("TrustStore.java", import.meta.url).pathname;
  const process = new Deno.Command("java", {
    args: [program],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const input = new Blob([requests.map((request) => request.join("|") + "\n").join("")]);
  const [, text, { code }] = await Promise.all([
    input.stream().pipeTo(process.stdin),
    new Response(process.stdout).text(),
    process.status,
  ]);
  assert.equal(code, 0);
  return text.trimEnd().split("\n");
}

const hex = (text: string) => new TextEncoder().encode(text).toHex();

Deno.test("Java finds every certificate in each store, odd ones too, and takes only the right password", async () => {
  const odd = await oddPool();
  const readable = ["plain", "Latin-1 subject", "BMP subject", "UTF-8 subject", "multi-valued subject"];
  readable.push("all known attributes", "unknown attributes", "characters to escape", "huge extension");
  readable.push("Ed25519", "P-521", "v1");
  const certificates = poolOf([
    await systemPool(),
    odd.filter(({ name }) => readable.includes(name)).map(({ certificate }) => certificate),
  ], {}).certificates;
  const expected = certificates.map(({ sha256 }) => sha256).join(",");
  await withFolder(async (folder) => {
    const requests: { name: string; request: string[]; answer: string | RegExp }[] = [];
    for (const [i, store] of STORES.entries()) {
      const file = `${folder}/${i}`;
      await Deno.writeFile(file, encodeKeyStore(certificates, store));
      requests.push({
        name: store.name,
        request: ["list", typeOf(store), file, hex(store.password)],
        answer: expected,
      });
      if (store.password === "") continue;
      requests.push({
        name: `${store.name} with a wrong password`,
        request: ["list", typeOf(store), file, hex("mistaken")],
        answer: /^error: .*password was incorrect/,
      });
    }
    for (const profile of PROFILES) {
      for (const password of ["x", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ", "x".repeat(128)]) {
        const file = `${folder}/${requests.length}`;
        await Deno.writeFile(file, encodeKeyStore(certificates, { format: "pkcs12", password, profile }));
        requests.push({
          name: `${profile}: ${password}`,
          request: ["list", "PKCS12", file, hex(password)],
          answer: expected,
        });
      }
      for (const password of ["pässword", "日本", "tab\t", "newline\n", "delete\x7f"]) {
        // What `javaPasswordProblem` says.
        const file = `${folder}/${requests.length}`;
        await Deno.writeFile(file, encodePkcs12(certificates, password, profile));
        requests.push({
          name: `${profile}: ${JSON.stringify(password)}`,
          request: ["list", "PKCS12", file, hex(password)],
          answer: /^error: .*password was incorrect/,
        });
      }
    }
    // The Go project takes the UTF-8 bytes of a JKS's password, where Java takes characters: one that is not ASCII opens the store
    // only as what its bytes are in Latin-1.
    const mojibake: [string, string | RegExp][] = [
      ["pässword", /^error: .*password was incorrect/],
      ["pÃ¤ssword", expected],
      ["", expected], // not checked
    ];
    for (const [i, [password, answer]] of mojibake.entries()) {
      const file = `${folder}/utf8-${i}`;
      await Deno.writeFile(file, encodeKeyStore(certificates, { format: "jks", password: "pässword" }));
      requests.push({ name: `JKS, ${password}`, request: ["list", "JKS", file, hex(password)], answer });
    }
    const answers = await askJava(requests.map(({ request }) => request));
    for (const [i, { name, answer }] of requests.entries()) {
      if (typeof answer === "string") assert.equal(answers[i], answer, name);
      else assert.match(answers[i] ?? "", answer, name);
    }
  });
});

Deno.test("of each certificate it is known whether Java can read it", async () => {
  const options = { format: "jks", password: "changeit" } as const;
  const odd = await oddPool();
  await withFolder(async (folder) => {
    const requests: string[][] = [];
    for (const [i, { certificate }] of odd.entries()) {
      await Deno.writeFile(`${folder}/${i}`, encodeKeyStore([certificate], options));
      requests.push(["list", "JKS", `${folder}/${i}`, hex(options.password)]);
    }
    const answers = await askJava(requests);
    for (const [i, { name, certificate }] of odd.entries()) {
      const problem = javaProblem(certificate);
      // The Go project's store is of no use either.
      if (problem === undefined) assert.equal(answers[i], certificate.sha256, name);
      else assert.match(answers[i] ?? "", /^error: /, `${name}: ${problem}`);
    }
    assert.equal(new Set(odd.map(({ certificate }) => javaProblem(certificate))).size, 5);
  });
});

Deno.test("a Java client trusts a server whose root is in the store, and no other", async () => {
  await withFolder(async (folder) => {
    const server = await makeServerCertificate(folder);
    const trusting = poolOf([await systemPool(), [parseCertificate(server.root)]], {}).certificates;
    const other = parseCertificate(await makeCertificate(folder));
    const distrusting = poolOf([await systemPool(), [other]], {}).certificates;
    const listener = Deno.listenTls({
      hostname: "127.0.0.1",
      port: 0,
      cert: server.certificate,
      key: server.key,
    });
    const serving = (async () => {
      for await (const connection of listener) {
        await connection.handshake().catch(() => {}); // a client that does not trust us ends it
        connection.close();
      }
    })();
    try {
      const requests: { name: string; request: (string | number)[]; answer: string }[] = [];
      for (const [i, store] of STORES.entries()) {
        for (const [answer, pool] of Object.entries({ trusted: trusting, refused: distrusting })) {
          const file = `${folder}/${answer}-${i}`;
          await Deno.writeFile(file, encodeKeyStore(pool, store));
          requests.push({
            name: store.name,
            request: ["connect", typeOf(store), file, hex(store.password), listener.addr.port],
            answer,
          });
        }
      }
      const answers = await askJava(requests.map(({ request }) => request));
      for (const [i, { name, answer }] of requests.entries()) assert.equal(answers[i], answer, name);
    } finally {
      listener.close();
      await serving;
    }
  });
});
