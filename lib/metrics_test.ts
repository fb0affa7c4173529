import assert from "node:assert/strict";
import { type BundleFigures, Metrics } from "./metrics.ts";

/** The series of some metrics, as the text has them, in its order. */
async function series(metrics: Metrics, ...names: string[]): Promise<string[]> {
  const lines = (await metrics.text()).split("\n");
  return lines.filter((line) =>
    names.some((name) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  );
}

function setUp() {
  return new Metrics(Date.parse("2030-01-01T00:00:00.500Z"), "v1.2.3");
}

Deno.test("passes are counted by result, and timed", async () => {
  const metrics = setUp();
  metrics.reconciled("bundles", "success", 0.2);
  metrics.reconciled("bundles", "success", 7);
  metrics.reconciled("bundles", "error", 0.2);
  metrics.reconciled("targets", "requeue_after", 0.2);
  assert.deepEqual(await series(metrics, "controller_runtime_reconcile_total"), [
    'controller_runtime_reconcile_total{controller="bundles",result="success"} 2',
    'controller_runtime_reconcile_total{controller="bundles",result="error"} 1',
    'controller_runtime_reconcile_total{controller="targets",result="requeue_after"} 1',
  ]);
  assert.deepEqual(await series(metrics, "controller_runtime_reconcile_errors_total"), [
    'controller_runtime_reconcile_errors_total{controller="bundles"} 1',
  ]);
  const text = await metrics.text();
  assert.deepEqual(
    [...text.matchAll(/^controller_runtime_reconcile_time_seconds_bucket\{le="(.+?)",controller="bundles"/gm)]
      .map(([, limit]) => limit).join(" "),
    "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 +Inf",
  );
  assert.ok(text.includes('controller_runtime_reconcile_time_seconds_count{controller="bundles"} 3'));
  assert.ok(
    text.includes('controller_runtime_reconcile_time_seconds_bucket{le="0.25",controller="bundles"} 2'),
  );
  assert.ok(
    text.includes('controller_runtime_reconcile_time_seconds_bucket{le="10",controller="bundles"} 3'),
  );
});

Deno.test("a queue has its series, and is empty at first", async () => {
  const metrics = setUp();
  const queue = metrics.queue("targets");
  metrics.queue("bundles");
  assert.deepEqual(await series(metrics, "workqueue_depth"), [
    'workqueue_depth{name="targets"} 0',
    'workqueue_depth{name="bundles"} 0',
  ]);
  queue.depth(4);
  queue.depth(3);
  queue.added();
  queue.added();
  queue.retried();
  queue.started(2);
  queue.finished(0.5);
  assert.deepEqual(
    await series(
      metrics,
      "workqueue_depth",
      "workqueue_adds_total",
      "workqueue_retries_total",
      "workqueue_queue_duration_seconds_sum",
      "workqueue_queue_duration_seconds_count",
      "workqueue_work_duration_seconds_sum",
      "workqueue_work_duration_seconds_count",
    ),
    [
      'workqueue_depth{name="targets"} 3',
      'workqueue_depth{name="bundles"} 0',
      'workqueue_adds_total{name="targets"} 2',
      'workqueue_queue_duration_seconds_sum{name="targets"} 2',
      'workqueue_queue_duration_seconds_count{name="targets"} 1',
      'workqueue_work_duration_seconds_sum{name="targets"} 0.5',
      'workqueue_work_duration_seconds_count{name="targets"} 1',
      'workqueue_retries_total{name="targets"} 1',
    ],
  );
});

Deno.test("requests, writes, leadership and lost certificates", async () => {
  const metrics = setUp();
  metrics.requested({ code: "200", host: "127.0.0.1:6443", method: "PATCH" });
  metrics.requested({ code: "200", host: "127.0.0.1:6443", method: "PATCH" });
  metrics.requested({ code: "<error>", host: "127.0.0.1:6443", method: "GET" });
  metrics.wrote("ConfigMap", "apply", "success");
  metrics.wrote("Secret", "clean", "error");
  metrics.leading("lease", true);
  metrics.certificatesRemoved("b", 2);
  metrics.certificatesRemoved("b", 3);
  const names = [
    "rest_client_requests_total",
    "trust_manager_target_writes_total",
    "leader_election_master_status",
    "trust_manager_bundle_certificates_removed_total",
  ];
  assert.deepEqual(await series(metrics, ...names), [
    'rest_client_requests_total{code="200",host="127.0.0.1:6443",method="PATCH"} 2',
    'rest_client_requests_total{code="<error>",host="127.0.0.1:6443",method="GET"} 1',
    'leader_election_master_status{name="lease"} 1',
    'trust_manager_bundle_certificates_removed_total{bundle="b"} 5',
    'trust_manager_target_writes_total{kind="ConfigMap",operation="apply",result="success"} 1',
    'trust_manager_target_writes_total{kind="Secret",operation="clean",result="error"} 1',
  ]);
  metrics.leading("lease", false);
  assert.deepEqual(await series(metrics, "leader_election_master_status"), [
    'leader_election_master_status{name="lease"} 0',
  ]);
});

Deno.test("Bundles have their figures, and lose them when they are gone", async () => {
  const metrics = setUp();
  const names = [
    "trust_manager_bundle_certificates",
    "trust_manager_bundle_certificates_expired",
    "trust_manager_bundle_empty_sources",
    "trust_manager_bundle_source_cycle",
    "trust_manager_bundle_earliest_expiry_timestamp_seconds",
    "trust_manager_bundle_targets",
    "trust_manager_bundle_last_success_timestamp_seconds",
  ];
  const good: BundleFigures = {
    certificates: 140,
    expired: 3,
    emptySources: 3,
    cycleSize: 2,
    earliestExpiry: 2_000_000_000_500,
    inSync: 10,
    failed: 2,
    pending: 1,
    lastSuccess: 1_900_000_000_000,
  };
  const broken: BundleFigures = {
    certificates: 0,
    expired: 0,
    emptySources: 0,
    cycleSize: 0,
    earliestExpiry: undefined,
    inSync: 0,
    failed: 0,
    pending: 0,
    lastSuccess: undefined,
  };
  metrics.bundles([["good", good], ["broken", broken]]);
  assert.deepEqual(await series(metrics, ...names), [
    'trust_manager_bundle_certificates{bundle="good"} 140',
    'trust_manager_bundle_certificates{bundle="broken"} 0',
    'trust_manager_bundle_certificates_expired{bundle="good"} 3',
    'trust_manager_bundle_certificates_expired{bundle="broken"} 0',
    'trust_manager_bundle_empty_sources{bundle="good"} 3',
    'trust_manager_bundle_empty_sources{bundle="broken"} 0',
    'trust_manager_bundle_source_cycle{bundle="good"} 2',
    'trust_manager_bundle_source_cycle{bundle="broken"} 0',
    'trust_manager_bundle_earliest_expiry_timestamp_seconds{bundle="good"} 2000000000.5',
    'trust_manager_bundle_targets{bundle="good",state="in_sync"} 10',
    'trust_manager_bundle_targets{bundle="good",state="failed"} 2',
    'trust_manager_bundle_targets{bundle="good",state="pending"} 1',
    'trust_manager_bundle_targets{bundle="broken",state="in_sync"} 0',
    'trust_manager_bundle_targets{bundle="broken",state="failed"} 0',
    'trust_manager_bundle_targets{bundle="broken",state="pending"} 0',
    'trust_manager_bundle_last_success_timestamp_seconds{bundle="good"} 1900000000',
  ]);
  metrics.bundles([["broken", broken]]);
  assert.ok((await series(metrics, ...names)).every((line) => line.includes('bundle="broken"')));
  metrics.bundles([]);
  assert.deepEqual(await series(metrics, ...names), []);
});

Deno.test("the process tells its version, start and memory", async () => {
  const metrics = setUp();
  assert.deepEqual(await series(metrics, "trust_manager_build_info", "process_start_time_seconds"), [
    'trust_manager_build_info{version="v1.2.3"} 1',
    "process_start_time_seconds 1893456000.5",
  ]);
  const [memory = ""] = await series(metrics, "process_resident_memory_bytes");
  assert.ok(Number(memory.split(" ")[1]) > 1_000_000);
});

Deno.test("two Metrics do not share series", async () => {
  const [one, two] = [setUp(), setUp()];
  one.wrote("ConfigMap", "apply", "success");
  assert.deepEqual(await series(two, "trust_manager_target_writes_total"), []);
});
