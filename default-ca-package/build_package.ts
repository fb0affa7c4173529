/**
 * Builds the file of a default CA package, checks it as the operator will, and prints its id; what is odd about it goes to standard
 * error.
 *
 * `deno task package FILE.json` takes what this machine trusts. Any other bundle:
 * `deno task package --bundle=FILE.crt --version=VERSION (--name=NAME | --os-release=FILE) FILE.json`
 */
import { parseArgs } from "node:util";
import { checkDefaultPackagePath, DefaultPackageError } from "../lib/certs/default_package.ts";
import { packageOfThisMachine } from "./machine_package.ts";
import { encodePackage, type PackageFile, packageIdentity } from "./package_file.ts";

const USAGE =
  "deno task package [--bundle=FILE.crt --version=VERSION (--name=NAME | --os-release=FILE)] FILE.json";

/** A command line that cannot be used. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What the command line asks for: where to write, and what instead of the machine's own package. */
interface BuildRequest {
  readonly output: string;
  readonly bundle?: string;
  readonly version?: string;
  readonly name?: string;
  readonly osRelease?: string;
}

function parseCommandLine(args: readonly string[]): BuildRequest {
  try {
    const text = { type: "string" } as const;
    const { values, positionals: [output, ...rest] } = parseArgs({
      args: args.filter((arg) => arg !== "--"),
      options: { "bundle": text, "version": text, "name": text, "os-release": text },
      allowPositionals: true,
    });
    if (output === undefined || rest.length > 0) throw new UsageError("Exactly one file to write is needed");
    checkDefaultPackagePath(output);
    const { "os-release": osRelease, ...fields } = values;
    // What this machine is called says nothing about a bundle from elsewhere.
    if (fields.bundle !== undefined && (!fields.version || !(fields.name || osRelease))) {
      throw new UsageError("With --bundle go --version, and one of --name and --os-release");
    }
    return { output, ...fields, ...(osRelease === undefined ? {} : { osRelease }) };
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message);
    throw error;
  }
}

async function readPackage({ bundle, version, name, osRelease }: BuildRequest): Promise<PackageFile> {
  const file = bundle === undefined
    ? await packageOfThisMachine()
    : { name: "", version: "", bundle: await Deno.readTextFile(bundle) };
  const released = osRelease === undefined
    ? {}
    : { name: packageIdentity(await Deno.readTextFile(osRelease), undefined).name };
  return { ...file, ...released, ...(name ? { name } : {}), ...(version ? { version } : {}) };
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const request = parseCommandLine(args);
    const { json, read } = encodePackage(await readPackage(request));
    await Deno.writeTextFile(request.output, json);
    for (const warning of read.warnings) console.error(warning);
    console.log(read.id);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`${error.message}. Usage: ${USAGE}`);
      return 2;
    }
    if (!(error instanceof DefaultPackageError || error instanceof Deno.errors.NotFound)) throw error;
    console.error(`The package was not built: ${error.message}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
