/**
 * krun's own version.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };

/** The version of deno.json, by semantic versioning of environment names, exit statuses, error codes, files and the library. */
export const VERSION: string = config.version;
