/** What a metadata server says, asked by krun and by fetch, in a process whose environment names a proxy: one JSON line. */
import { MetadataServer } from "../../src/gcp/metadata_server.ts";

const [host = ""] = Deno.args;
const own = await new MetadataServer({ host }).projectId();
const fetched = await (await fetch(`http://${host}/`)).text();
console.log(JSON.stringify({ own, fetched }));
