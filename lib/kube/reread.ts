import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

/**
 * Gives the value of the moment. `force` says that the last one has failed its purpose: it was refused, or nobody could be
 * reached with it.
 */
export type Source<T> = (options: { readonly force: boolean }) => Promise<T>;

/** Milliseconds for which a file is not read again: the Go client's interval for tokens, which live for an hour in pods. */
const FILE_INTERVAL = 60_000;

/**
 * A source that keeps what it has.
 *
 * @param usable the value at hand, unless it is too old.
 * @param load gets a new one. Never at work twice at the same time: all that ask meanwhile wait for the same result.
 */
export function kept<T>(usable: () => T | undefined, load: () => Promise<T>): Source<T> {
  let loading: Promise<T> | undefined;
  return ({ force }) => {
    const value = force ? undefined : usable();
    if (value !== undefined) return Promise.resolve(value);
    return loading ??= load().finally(() => loading = undefined);
  };
}

/**
 * A source that reads files which are replaced from time to time: at first, then again each minute, and by force. What cannot
 * be read again, or not be used, say because it is half written, leaves the last value in use; the log says so, once.
 *
 * @param read throws if there is no usable value; its message names the file and never quotes what is in it.
 * @param same whether two values are the same: then the former object stays.
 */
export function reread<T>(
  { clock, log }: { readonly clock: Clock; readonly log?: Logger },
  read: () => Promise<T>,
  same: (a: T, b: T) => boolean,
): Source<T> {
  let last: { readonly value: T } | undefined;
  let readAt = 0;
  let problem: string | undefined;
  return kept(
    () => clock.monotonic() - readAt < FILE_INTERVAL ? last?.value : undefined,
    async () => {
      try {
        const value = await read();
        if (last === undefined || !same(last.value, value)) last = { value };
        problem = undefined;
      } catch (error) {
        if (last === undefined) throw error;
        const message = error instanceof Error ? error.message : String(error);
        if (message !== problem) {
          log?.error(
            "File could not be used when it was read again; what it held before stays in use",
            error,
          );
        }
        problem = message;
      }
      readAt = clock.monotonic();
      return last.value;
    },
  );
}
