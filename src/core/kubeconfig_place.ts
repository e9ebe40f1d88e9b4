/**
 * Reading fields of a kubeconfig so that every fault names file, context, cluster and user. In: parsed YAML or JSON of unknown
 * shape. Out: typed values, or a {@linkcode KrunError} `KubeconfigInvalid`.
 *
 * @module
 */
import type { PemSource } from "./cluster_config.ts";
import { KrunError } from "./errors.ts";
import { dirname, resolve } from "./posix_path.ts";

/** A mapping of unknown content. */
export type Fields = Readonly<Record<string, unknown>>;

export function kubeconfigInvalid(message: string, hint: string): KrunError {
  return new KrunError("KubeconfigInvalid", message, hint);
}

/** A place in a file, so that every fault names it. */
export class KubeconfigPlace {
  constructor(private readonly file: string, private readonly where: string) {}

  fault(state: string): KrunError {
    const where = this.where ? `${this.where} of kubeconfig` : "kubeconfig";
    return kubeconfigInvalid(`Cannot use ${where} "${this.file}": ${state}`, "correct that file");
  }

  /** An absolute path; kubectl takes relative ones from the folder of the file. */
  path(path: string): string {
    return resolve(dirname(this.file), path);
  }

  fields(value: unknown, what = "it"): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.fault(`${what} is not a mapping`);
    }
    return value as Fields;
  }

  list(fields: Fields, key: string): readonly unknown[] {
    const value = fields[key] ?? [];
    if (!Array.isArray(value)) throw this.fault(`"${key}" is not a list`);
    return value;
  }

  texts(fields: Fields, key: string): string[] {
    return this.list(fields, key).map((item) => {
      if (typeof item !== "string") throw this.fault(`"${key}" is not a list of strings`);
      return item;
    });
  }

  /** As Go's decoder: absent, null and empty are one. */
  optionalText(fields: Fields, key: string): string | undefined {
    const value = fields[key] ?? "";
    if (typeof value !== "string") throw this.fault(`"${key}" is not a string`);
    return value === "" ? undefined : value;
  }

  text(fields: Fields, key: string): string {
    const value = this.optionalText(fields, key);
    if (value === undefined) throw this.fault(`"${key}" is not set`);
    return value;
  }

  flag(fields: Fields, key: string): boolean {
    const value = fields[key] ?? false;
    if (typeof value !== "boolean") throw this.fault(`"${key}" is neither true nor false`);
    return value;
  }

  /** `<key>-data`, which wins, or the file `<key>`. */
  pem(fields: Fields, key: string): PemSource | undefined {
    const data = this.optionalText(fields, `${key}-data`);
    if (data !== undefined) return { pem: this.#decoded(data, `${key}-data`) };
    const file = this.optionalText(fields, key);
    return file === undefined ? undefined : { file: this.path(file) };
  }

  #decoded(data: string, key: string): string {
    let text: string;
    try {
      text = atob(data.replaceAll(/\s/g, ""));
    } catch {
      throw this.fault(`"${key}" is not base64`);
    }
    if (!text.includes("-----BEGIN ")) throw this.fault(`"${key}" holds no PEM block`);
    return text;
  }
}
