import type { Content } from "./trust_content.ts";

/** What was done. */
export type Scenario =
  | "start"
  | "first sync"
  | "source change"
  | "new namespace"
  | "new namespace in bulk"
  | "target restored"
  | "restart"
  | "20 source changes in 1 s"
  | "burst of 500 namespaces"
  | "50 Bundles"
  | "10,000 small targets"
  | "restart with 10,000 small targets"
  | "steady state";

/** Who did it; the number is how many requests a bare loop has on their way at once. */
export type ContenderName = "operator" | "peer" | "loop 8" | "loop 16" | "loop 32";

/** What was measured once. */
export interface Measurement {
  readonly scenario: Scenario;
  readonly contender: ContenderName;
  readonly content: Content;
  /** How many namespaces the Bundle selected at first. */
  readonly namespaces: number;
  /** How many targets had to be written; 0 if none. */
  readonly targets: number;
  /** Until the last target held what it must. Of a start and a restart: until it was ready. */
  readonly seconds: number;
  /** Each one's time, of scenarios that are done many times, one after the other. */
  readonly latenciesMs?: readonly number[];
  /** CPU time of the contender, and of the API server, until a second after that. */
  readonly cpuSeconds: number;
  readonly apiServerCpuSeconds: number;
  /** Resident memory at the end, and the most since the start, in MiB. */
  readonly rssMib: number;
  readonly peakMib: number;
  /** Requests by verb and resource, such as `patch configmaps`, as the API server's audit log has them. */
  readonly requests: Readonly<Record<string, number>>;
  /** Megabytes that the contender has sent and received over the connections that it keeps open, watches and TLS included. */
  readonly sentMb: number;
  readonly receivedMb: number;
}
