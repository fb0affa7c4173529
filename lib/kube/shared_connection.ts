import type { KubeClient } from "./client.ts";

/**
 * A client that several streams share. When its connection dies, each of them finds out at a time of its own; the first
 * replaces the connection for all, and those that come later must not drop the new one.
 */
export class SharedConnection {
  readonly client: KubeClient;
  #generation = 0;

  constructor(client: KubeClient) {
    this.client = client;
  }

  /** Counts the connections. To be remembered by who opens a stream. */
  get generation(): number {
    return this.#generation;
  }

  /** Replaces the connection, unless that was done since a stream was opened at `generation`. */
  renew(generation: number): void {
    if (generation !== this.#generation) return;
    this.#generation++;
    this.client.reconnect();
  }
}
