/** Ends what the demo, or `deno task cluster:up`, left running. */
import { DIRECTORY } from "./background_operator.ts";
import { endDemo } from "./end_demo.ts";

const lines = await endDemo(DIRECTORY);
console.log(lines.length === 0 ? "Nothing is running" : lines.join("\n"));
