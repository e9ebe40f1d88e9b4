/**
 * `krun --connect` to a mesh peer, as ssh starts a ProxyCommand. In: the address, the folder of certificates and the endpoint's port
 * as arguments.
 *
 * @module
 */
import { readConnectAddress } from "../../src/core/connect_address.ts";
import { connectStdio } from "../../src/mesh/connect.ts";

const [address = "", certificates = "", endpoint = ""] = Deno.args;
try {
  await connectStdio({
    address: readConnectAddress(address),
    mesh: { certificates, endpoints: [Number(endpoint)] },
    frontEnd: { roots: [], idToken: () => Promise.reject(new Error("none")) },
    input: Deno.stdin.readable,
    output: Deno.stdout.writable,
    signal: new AbortController().signal,
  });
  Deno.exit(0);
} catch (error) {
  console.error(`${error}`);
  Deno.exit(125);
}
