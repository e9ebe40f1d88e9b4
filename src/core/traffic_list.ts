/**
 * The lists that say which traffic the proxy gets: ranges, ports and interfaces, from a variable or from an annotation of
 * the Pod. In: the text and where it is from. Out: the list, or the error that names the place, the fault and an example.
 *
 * Entries are separated by commas; blanks around one do not count. Source: pkg/kube/inject/validate.go of Istio 1.30.3.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { type IpRange, parseIpRange } from "./ip_range.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";
import { portNumber } from "./setting_value.ts";

/** A list as somebody wrote it. */
export interface TrafficList {
  /** Who wrote it. */
  readonly from: "variable" | "annotation";
  /** Name of the variable or annotation. */
  readonly name: string;
  /** Its value. */
  readonly text: string;
}

/** Options of a list that may be `*` for everything. */
export interface StarOptions {
  /** Whether `*` may stand for all. */
  readonly star: boolean;
}

/** Ranges of addresses; empty for an empty text. @throws {KrunError} `SettingInvalid` or `PodInvalid`. */
export function readIpRanges(list: TrafficList, { star }: StarOptions): "*" | readonly IpRange[] {
  if (star && list.text.trim() === "*") return "*";
  return entries(list).map((entry) => {
    const range = parseIpRange(entry);
    if (range === undefined) throw invalid(list, `${quoted(entry)} is not a range of addresses${all(star)}`, RANGES);
    return range;
  });
}

/** Ports, each once; empty for an empty text. @throws {KrunError} `SettingInvalid` or `PodInvalid`. */
export function readPorts(list: TrafficList, { star }: StarOptions): "*" | readonly number[] {
  if (star && list.text.trim() === "*") return "*";
  return unique(
    entries(list).map((entry) => {
      const port = portNumber(entry);
      if (port === undefined) throw invalid(list, `${quoted(entry)} is not a port from 1 to 65535${all(star)}`, PORTS);
      return port;
    }),
  );
}

/** The kernel's limit of 15 characters, and Istio's choice of them. */
const INTERFACE = /^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$/;

/** Names of network interfaces, each once; empty for an empty text. @throws {KrunError} `SettingInvalid` or `PodInvalid`. */
export function readInterfaces(list: TrafficList): readonly string[] {
  return unique(
    entries(list).map((entry) => {
      if (!INTERFACE.test(entry)) throw invalid(list, `${quoted(entry)} is not the name of an interface`, "eth1");
      return entry;
    }),
  );
}

const RANGES = "10.0.0.0/8,fd00::/8";
const PORTS = "8080,9090";

function entries({ text }: TrafficList): string[] {
  return text.trim() === "" ? [] : text.split(",").map((entry) => entry.trim());
}

function unique<Entry>(list: readonly Entry[]): Entry[] {
  return [...new Set(list)];
}

function all(star: boolean): string {
  return star ? ", nor * for all" : "";
}

function invalid({ from, name }: TrafficList, fault: string, example: string): KrunError {
  if (from === "variable") return settingInvalid(name, fault, example);
  return new KrunError(
    "PodInvalid",
    `Cannot read annotation ${quoted(name)} of the Pod: ${fault}`,
    `write for example ${name}: ${example}`,
  );
}
