/** A change to the bytes of an answer while they pass. */
export type AnswerFault = TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>;

/** Why a body broke. */
export class CutError extends Error {
  override readonly name = "CutError";
}

const NEWLINE = 0x0a;

/**
 * What breaks before the bytes are handed over that have been written is lost with them. One turn of the event loop does that, in the
 * same thread: however slow the machine is, this is long enough.
 */
const FLUSH_MS = 10;

/** Passes on the first `bytes` bytes and gives the rest up: in good order, or as a connection that breaks. */
export function cutAfter(bytes: number, how: "reset" | "end", onDone: () => void): AnswerFault {
  return after(bytes, async (controller) => {
    onDone();
    if (how === "end") return controller.terminate();
    await new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
    throw new CutError(`Cut after ${bytes} bytes`);
  });
}

/** Passes on the first `bytes` bytes, then some that are neither JSON nor UTF-8, a newline, and the end. */
export function garbageAfter(bytes: number, onDone: () => void): AnswerFault {
  return after(bytes, (controller) => {
    onDone();
    controller.enqueue(new Uint8Array([0x7b, 0xff, 0xfe, 0x00, 0x5d, 0x22, NEWLINE]));
    controller.terminate();
  });
}

/** Each line, so each event of a watch, twice. */
export function duplicateLines(onDone: () => void): AnswerFault {
  return lines((line, controller) => {
    onDone();
    controller.enqueue(line);
    controller.enqueue(line.slice());
  });
}

/** Each piece arrives so many milliseconds late. */
export function slowedDown(milliseconds: number, onDone: () => void): AnswerFault {
  return new TransformStream({
    async transform(chunk, controller) {
      onDone();
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      controller.enqueue(chunk);
    },
  });
}

/** Each piece as a member of its own of a gzip file, as the API server compresses a watch. */
export function gzipMembers(onDone: () => void): AnswerFault {
  return new TransformStream({
    async transform(chunk, controller) {
      onDone();
      const member = new Blob([chunk]).stream().pipeThrough(new CompressionStream("gzip"));
      controller.enqueue(await new Response(member).bytes());
    },
  });
}

/**
 * Keeps a copy of what passes.
 *
 * @param isLast whether a line is the last one to be kept. Without it, all is kept to the end.
 * @param keep is given the copy once it is complete, and never one of more than `limit` bytes.
 */
export function recorded(
  isLast: ((line: string) => boolean) | undefined,
  limit: number,
  keep: (body: Uint8Array<ArrayBuffer>) => void,
): AnswerFault {
  let kept: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  let open = true;
  const end = () => {
    if (open) keep(concat(kept));
    open = false;
    kept = [];
  };
  return lines((line, controller) => {
    if (open) {
      size += line.length;
      if (size > limit) {
        open = false;
        kept = [];
      } else {
        kept.push(line.slice());
        if (isLast?.(new TextDecoder().decode(line))) end();
      }
    }
    controller.enqueue(line);
  }, () => {
    if (isLast === undefined) end();
  });
}

type Controller = TransformStreamDefaultController<Uint8Array<ArrayBuffer>>;

/** Passes on `bytes` bytes, and then does something instead; nothing, if there are no more than these. */
function after(bytes: number, then: (controller: Controller) => void | Promise<void>): AnswerFault {
  let left = bytes;
  return new TransformStream({
    async start(controller) {
      if (left === 0) await then(controller);
    },
    async transform(chunk, controller) {
      controller.enqueue(chunk.slice(0, left));
      left = Math.max(0, left - chunk.length);
      if (left === 0) await then(controller);
    },
  });
}

/** Hands over whole lines with their newlines, as soon as they are complete; the end of the stream completes a line, too. */
function lines(
  take: (line: Uint8Array<ArrayBuffer>, controller: Controller) => void,
  onEnd = () => {},
): AnswerFault {
  let begun: Uint8Array<ArrayBuffer>[] = [];
  return new TransformStream({
    transform(chunk, controller) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        take(concat([...begun, chunk.subarray(start, end + 1)]), controller);
        begun = [];
        start = end + 1;
      }
      if (start < chunk.length) begun.push(chunk.subarray(start));
    },
    flush(controller) {
      if (begun.length > 0) take(concat(begun), controller);
      onEnd();
    },
  });
}

function concat(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let used = 0;
  for (const piece of pieces) {
    whole.set(piece, used);
    used += piece.length;
  }
  return whole;
}
