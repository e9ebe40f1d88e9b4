/**
 * A program that knows nothing of krun. It shows what a Pod gives it (files, tokens, environment), and then, until it is
 * stopped, each new password in its Secret.
 *
 *     deno run -A hello.ts
 *
 * (-A, because Secrets and tokens lie in memory, below /dev/shm, which Deno opens to nothing less.)
 */

const FOLDERS = ["config", "secrets/db", "tokens", "var/run/secrets/kubernetes.io/serviceaccount"];

console.log("files:");
for (const folder of FOLDERS) {
  // The mounted objects are files; names with two dots belong to whoever mounted them.
  const names = [...Deno.readDirSync(folder)].map((entry) => entry.name).filter((name) => !name.startsWith(".."));
  for (const name of names.sort()) {
    const text = Deno.readTextFileSync(`${folder}/${name}`);
    console.log(`  ${folder}/${name}: ${text.startsWith("eyJ") ? "a token" : text.trim()}`);
  }
}

/** What a token says of its owner: the middle one of its three parts. */
function claimsOf(token: string): Record<string, unknown> {
  const bytes = Uint8Array.fromBase64(token.split(".")[1]!, { alphabet: "base64url" });
  return JSON.parse(new TextDecoder().decode(bytes));
}

console.log("claims of tokens/vault:");
for (const [name, value] of Object.entries(claimsOf(Deno.readTextFileSync("tokens/vault")))) {
  console.log(`  ${name}: ${JSON.stringify(value)}`);
}

console.log("environment:");
for (const [name, value] of Object.entries(Deno.env.toObject()).sort()) {
  if (/^(WORKLOAD_|K8S_|KRUN_|KUBERNETES_)/.test(name)) console.log(`  ${name}=${value}`);
}

let password: string | undefined;
function showPassword(): void {
  const now = Deno.readTextFileSync("secrets/db/password");
  if (now !== password) console.log(`the password is ${now}`);
  password = now;
}

// The folder, not the file: a new version arrives as a link in the folder that is swapped.
const changes = Deno.watchFs("secrets/db", { recursive: false });
Deno.addSignalListener("SIGTERM", () => changes.close());
showPassword();
for await (const _ of changes) showPassword();
console.log("goodbye");
