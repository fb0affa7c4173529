/**
 * The parts of prom-client that are used, without its index: that also loads cluster and default metrics, which cost 7 MB and
 * 30 ms at start. The deep modules have no types of their own, so they get those of the index here, and only here.
 */
import type {
  Counter as Counter_,
  Gauge as Gauge_,
  Histogram as Histogram_,
  Registry as Registry_,
} from "prom-client";
import counter from "prom-client/lib/counter.js";
import gauge from "prom-client/lib/gauge.js";
import histogram from "prom-client/lib/histogram.js";
import registry from "prom-client/lib/registry.js";

export type Counter<L extends string = string> = Counter_<L>;
export type Gauge<L extends string = string> = Gauge_<L>;
export type Histogram<L extends string = string> = Histogram_<L>;
export type Registry = Registry_;

export const Counter: typeof Counter_ = counter;
export const Gauge: typeof Gauge_ = gauge;
export const Histogram: typeof Histogram_ = histogram;
export const Registry: typeof Registry_ = registry;
