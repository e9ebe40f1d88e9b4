/**
 * Secret Manager, Cloud Storage, Cloud KMS and the Cloud Run admin API, as far as references need them: hosts that a
 * {@linkcode FakeGoogle} gets besides its own. In: requests. Out: answers, as strict as Google's.
 *
 * State is plain fields that a test sets. Rules: the sheets of the REST APIs, the discovery documents of their fields; what Google's
 * own would answer was not seen.
 *
 * ```ts
 * const google = await FakeGoogle.create();
 * const secrets = new FakeSecrets(google);
 * secrets.put("api-key", "s3cret");
 * google.grant(google.account!, "secretmanager.versions.access");
 * ```
 *
 * @module
 */
import { crc32c } from "../../src/core/crc32c.ts";
import { bodyOf, denied, GoogleFault, pathOf } from "./google_answer.ts";
import type { FakeGoogle } from "./google_cloud.ts";

/** A version of a secret. */
export interface FakeVersion {
  readonly bytes: Uint8Array<ArrayBuffer>;
  state: "ENABLED" | "DISABLED";
}

/** A secret. */
export interface FakeSecret {
  /** By number, from 1 on. */
  readonly versions: FakeVersion[];
  readonly aliases: Record<string, number>;
}

/** An object's generation. */
export interface FakeObject {
  readonly generation: string;
  readonly body: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Region of regional secrets. */
export const SECRET_REGION = "europe-west3";

const encoder = new TextEncoder();

/** The secrets of one project, its buckets, its keys, and what runs there. */
export class FakeSecrets {
  /** `<name>`, or `<location>/<name>` of a regional one. */
  readonly secrets = new Map<string, FakeSecret>();
  /** `<bucket>/<object>` → its generations, the live one last. */
  readonly objects = new Map<string, FakeObject[]>();
  /** Name of a key → 32 bytes. */
  readonly keys = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Path below the regional host → what the API says of it: `namespaces/P/revisions/R`. */
  readonly runs = new Map<string, unknown>();
  /** Bytes of every payload are damaged on their way. */
  damages = false;
  /** Requests that are answered at once together; the others wait. */
  gate: { readonly arrived: () => void; readonly opened: Promise<void> } | undefined;
  readonly #google: FakeGoogle;
  #generation = 1_563_925_940_580_200;

  constructor(google: FakeGoogle) {
    this.#google = google;
    const hosts: FakeGoogle["hosts"] = {
      "secretmanager.googleapis.com": (request) => this.#secretManager(request, undefined),
      [`secretmanager.${SECRET_REGION}.rep.googleapis.com`]: (request) => this.#secretManager(request, SECRET_REGION),
      "storage.googleapis.com": (request) => this.#storage(request),
      "cloudkms.googleapis.com": (request) => this.#kms(request),
      "us-central1-run.googleapis.com": (request) => this.#run(request, "us-central1"),
      "europe-west1-run.googleapis.com": (request) => this.#run(request, "europe-west1"),
      "run.googleapis.com": (request) => this.#runV2(request),
    };
    for (const [host, handler] of Object.entries(hosts)) {
      google.hosts[host] = async (request) => {
        this.gate?.arrived();
        await this.gate?.opened;
        return await handler(request);
      };
    }
  }

  /** Everything that a reader needs. */
  grantAll(identity: string): void {
    this.#google.grant(
      identity,
      "secretmanager.versions.access",
      "storage.objects.get",
      "storage.objects.list",
      "cloudkms.cryptoKeyVersions.useToDecrypt",
    );
  }

  /** Adds a version. @param name `<name>`, or `<location>/<name>` */
  put(name: string, value: string | Uint8Array<ArrayBuffer>): void {
    const secret = this.secrets.get(name) ?? { versions: [], aliases: {} };
    secret.versions.push({ bytes: typeof value === "string" ? encoder.encode(value) : value, state: "ENABLED" });
    this.secrets.set(name, secret);
  }

  /** Makes a key; gives its name. */
  makeKey(name = "berglas-key", bytes = crypto.getRandomValues(new Uint8Array(32))): string {
    const key = `projects/${this.#google.project.id}/locations/global/keyRings/berglas/cryptoKeys/${name}`;
    this.keys.set(key, bytes);
    return key;
  }

  /** Writes an object as it is; gives its generation. */
  putObject(path: string, body: string, metadata: Readonly<Record<string, string>>): string {
    const generation = `${++this.#generation}`;
    this.objects.set(path, [...this.objects.get(path) ?? [], { generation, body, metadata }]);
    return generation;
  }

  /** Writes a secret as berglas does; gives its generation. @param aad what is bound to it in place of the object's name */
  async putBerglas(path: string, value: string, { key, aad }: { key: string; aad?: string }): Promise<string> {
    const object = path.slice(path.indexOf("/") + 1);
    const dek = crypto.getRandomValues(new Uint8Array(32));
    const wrapped = await seal(this.keys.get(key)!, dek, encoder.encode(aad ?? object));
    const sealed = await seal(dek, encoder.encode(value), new Uint8Array());
    const metadata = { "berglas-kms-key": key, "berglas-secret": "1" };
    return this.putObject(path, `${wrapped.toBase64()}:${sealed.toBase64()}`, metadata);
  }

  #secretManager(request: Request, location: string | undefined): Response {
    const { id, number } = this.#google.project;
    const [, project = "", place, name = "", version] =
      /^\/v1\/projects\/([^/]+)(?:\/locations\/([^/]+))?\/secrets\/([^/]+)\/versions\/([^/:]+):access$/.exec(
        pathOf(request),
      ) ?? [];
    if (version === undefined || request.method !== "GET") throw new GoogleFault(404, "NOT_FOUND", "Not found");
    const resource = `projects/${project}/secrets/${name}/versions/${version}`;
    this.#google.bearer(request, "secretmanager.versions.access", resource);
    if (project !== id && project !== number) throw denied("secretmanager.versions.access", resource);
    // A global host knows no regional secret, and the other way round.
    if (place !== location) {
      throw new GoogleFault(400, "INVALID_ARGUMENT", "Invalid resource field value in the request.");
    }
    const secret = this.secrets.get(place === undefined ? name : `${place}/${name}`);
    const at = version === "latest" ? secret?.versions.length : secret?.aliases[version] ?? Number(version);
    const found = secret?.versions[Number(at) - 1];
    if (found === undefined) {
      const what = secret === undefined
        ? `Secret [projects/${number}/secrets/${name}]`
        : `Secret Version [${resource}]`;
      throw new GoogleFault(404, "NOT_FOUND", `${what} not found or has no versions.`);
    }
    if (found.state === "DISABLED") {
      throw new GoogleFault(400, "FAILED_PRECONDITION", `Secret Version [${resource}] is in DISABLED state.`);
    }
    const middle = place === undefined ? "" : `/locations/${place}`;
    return Response.json({
      name: `projects/${number}${middle}/secrets/${name}/versions/${at}`,
      payload: { data: this.#sent(found.bytes), dataCrc32c: `${crc32c(found.bytes)}` },
    });
  }

  /** Cloud Storage's JSON API, whose failures have no `status`. */
  #storage(request: Request): Response {
    const { pathname, searchParams } = new URL(request.url);
    pathOf(request, ["alt", "generation"]);
    const [, bucket = "", name] = /^\/storage\/v1\/b\/([^/]+)\/o\/([^/]+)$/.exec(pathname) ?? [];
    if (name === undefined || request.method !== "GET") return storageFault(404, "Not Found");
    const { identity } = this.#google.bearer(request);
    const object = decodeURIComponent(name);
    const may = (permission: string) => this.#google.isGranted(identity, permission);
    const refused = (permission: string) =>
      storageFault(
        403,
        `${identity} does not have ${permission} access to the Google Cloud Storage object. ` +
          `Permission '${permission}' denied on resource (or it may not exist).`,
      );
    if (!may("storage.objects.get")) return refused("storage.objects.get");
    const generations = this.objects.get(`${bucket}/${object}`) ?? [];
    const asked = searchParams.get("generation");
    if (asked !== null && !/^\d+$/.test(asked)) return storageFault(400, `Invalid unsigned long value: '${asked}'.`);
    const found = asked === null ? generations.at(-1) : generations.find(({ generation }) => generation === asked);
    if (found === undefined) {
      return may("storage.objects.list")
        ? storageFault(404, `No such object: ${bucket}/${object}`)
        : refused("storage.objects.list");
    }
    if (searchParams.get("alt") === "media") {
      return new Response(found.body, { headers: { "content-type": "application/octet-stream" } });
    }
    const { generation, metadata, body } = found;
    const names = { kind: "storage#object", id: `${bucket}/${object}/${generation}`, name: object, bucket };
    return Response.json({ ...names, generation, metageneration: "1", size: `${body.length}`, metadata });
  }

  async #kms(request: Request): Promise<Response> {
    const [, name] = /^\/v1\/(projects\/[^:]+\/cryptoKeys\/[^/:]+):decrypt$/.exec(pathOf(request)) ?? [];
    if (name === undefined) throw new GoogleFault(404, "NOT_FOUND", "Requested entity was not found.");
    this.#google.bearer(request, "cloudkms.cryptoKeyVersions.useToDecrypt", name);
    const body = await bodyOf(request, {
      ...{ ciphertext: { type: "string", required: true }, ciphertextCrc32c: { type: "string" } },
      ...{ additionalAuthenticatedData: { type: "string" }, additionalAuthenticatedDataCrc32c: { type: "string" } },
    }) as Record<string, string>;
    const key = this.keys.get(name);
    if (key === undefined) throw new GoogleFault(404, "NOT_FOUND", `CryptoKey ${name} not found.`);
    const bytes = (field: string) => Uint8Array.fromBase64(body[field] ?? "");
    for (const field of ["ciphertext", "additionalAuthenticatedData"]) {
      const crc = body[`${field}Crc32c`];
      if (crc !== undefined && Number(crc) !== crc32c(bytes(field))) {
        throw new GoogleFault(400, "INVALID_ARGUMENT", `The checksum in field ${field}_crc32c did not match the data.`);
      }
    }
    const plaintext = await unseal(key, bytes("ciphertext"), bytes("additionalAuthenticatedData"));
    if (plaintext === undefined) {
      const words = "Decryption failed: verify that 'name' refers to the correct CryptoKey.";
      throw new GoogleFault(400, "INVALID_ARGUMENT", words);
    }
    const crc = { plaintextCrc32c: `${crc32c(plaintext)}`, usedPrimary: true, protectionLevel: "SOFTWARE" };
    return Response.json({ plaintext: this.#sent(plaintext), ...crc });
  }

  /** v1: only at the region's own host, and only what runs there. */
  #run(request: Request, region: string): Response {
    const [, api, rest = ""] =
      /^\/apis\/(serving\.knative\.dev|run\.googleapis\.com)\/v1\/(namespaces\/[^/]+\/[a-z]+\/[^/]+)$/.exec(
        pathOf(request),
      ) ?? [];
    const [, project, kind] = rest.split("/");
    const isRight = api === "serving.knative.dev" ? kind === "revisions" || kind === "services" : kind === "executions";
    if (!isRight || request.method !== "GET") throw new GoogleFault(404, "NOT_FOUND", "Not found");
    this.#google.bearer(request, `run.${kind}.get`, `projects/${project}`);
    const found = this.runs.get(`${region}/${rest}`);
    if (found === undefined) throw new GoogleFault(404, "NOT_FOUND", `Resource '${rest}' was not found`);
    return Response.json(found);
  }

  #runV2(request: Request): Response {
    const [, rest] = /^\/v2\/(projects\/[^/]+\/locations\/[^/]+\/workerPools\/[^/]+\/revisions\/[^/]+)$/.exec(
      pathOf(request),
    ) ?? [];
    // v1 has its paths at the regions' hosts alone.
    if (rest === undefined || request.method !== "GET") throw new GoogleFault(404, "NOT_FOUND", "Not found");
    this.#google.bearer(request, "run.workerpools.get", rest);
    const found = this.runs.get(rest);
    if (found === undefined) throw new GoogleFault(404, "NOT_FOUND", `Resource '${rest}' was not found`);
    return Response.json(found);
  }

  #sent(bytes: Uint8Array): string {
    return (this.damages ? bytes.map((byte, at) => at === 0 ? byte ^ 1 : byte) : bytes).toBase64();
  }
}

function storageFault(code: number, message: string): Response {
  const errors = [{ message, domain: "global", reason: code === 404 ? "notFound" : "forbidden" }];
  return Response.json({ error: { code, message, errors } }, { status: code });
}

/** Nonce, ciphertext and tag. */
async function seal(
  key: Uint8Array<ArrayBuffer>,
  bytes: Uint8Array<ArrayBuffer>,
  additionalData: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData }, aes, bytes);
  return new Uint8Array([...iv, ...new Uint8Array(sealed)]);
}

async function unseal(
  key: Uint8Array<ArrayBuffer>,
  sealed: Uint8Array<ArrayBuffer>,
  additionalData: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  try {
    const options = { name: "AES-GCM", iv: sealed.slice(0, 12), additionalData };
    return new Uint8Array(await crypto.subtle.decrypt(options, aes, sealed.slice(12)));
  } catch {
    return undefined;
  }
}
