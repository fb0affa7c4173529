import project from "../deno.json" with { type: "json" };

/** The version of this program, without a leading `v`. */
export const VERSION: string = project.version;
