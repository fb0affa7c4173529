import assert from "node:assert/strict";

const ALL = ["webhook", "metrics", "probes"];

/** What a machine's network is like, made with commands of a shell, and what is reached there by each family. */
const networks: Record<
  string,
  { setUp: string; flags?: string[]; reached: Record<"IPv4" | "IPv6", string[]> }
> = {
  "both families": { setUp: "true", reached: { IPv4: ALL, IPv6: ALL } },
  "both families, a socket for each": {
    setUp: "echo 1 > /proc/sys/net/ipv6/bindv6only",
    reached: { IPv4: ALL, IPv6: ALL },
  },
  "IPv4 only": {
    setUp: "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
    reached: { IPv4: ALL, IPv6: [] },
  },
  "IPv6 only": { setUp: "ip address del 127.0.0.1/8 dev lo", reached: { IPv4: [], IPv6: ALL } },
  "both families, and a host that is an address of IPv4": {
    setUp: "true",
    flags: ["--webhook-host=127.0.0.1"],
    reached: { IPv4: ALL, IPv6: ["metrics", "probes"] },
  },
  "both families, and a host that is an address of IPv6": {
    setUp: "true",
    flags: ["--webhook-host=::1"],
    reached: { IPv4: ["metrics", "probes"], IPv6: ALL },
  },
};

// A network namespace takes root, and iproute2; without it, lib/listen_test.ts says what is tried.
const ignore = Deno.build.os !== "linux" || Deno.uid() !== 0 ||
  !["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"].some((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });

for (const [name, { setUp, flags = [], reached }] of Object.entries(networks)) {
  Deno.test({ name: `listening by default: ${name}`, ignore }, async () => {
    const script = new URL("address_families_process.ts", import.meta.url).pathname;
    const run = [Deno.execPath(), "run", "--allow-all", "--no-check", script, ...flags];
    const { success, stdout, stderr } = await new Deno.Command("unshare", {
      args: ["--net", "sh", "-ec", `ip link set lo up; ${setUp}; exec "$@"`, "sh", ...run],
      stdin: "null",
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), reached);
  });
}
