/**
 * What variables say of the program's ports: PORT, `PORT_<name>`, `startupProbe.http` and `startupProbe.tcp`.
 *
 * @module
 */
import { isPortName } from "./object_name.ts";
import { quoted, settingInvalid } from "./setting_invalid.ts";
import { portNumber, readPort } from "./setting_value.ts";
import type { SettingText } from "./setting_value.ts";

/** A port that the program listens on. */
export interface PortSetting {
  /** The variable that names it. */
  readonly env: string;
  /** As a container port's name, from `PORT_<name>`; PORT itself has none. */
  readonly name?: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** A startup probe from `startupProbe.http` or `startupProbe.tcp`. */
export interface StartupProbeSetting {
  /** The variable that asks for it. */
  readonly env: string;
  /** Where it is asked; 127.0.0.1 when the setting names none. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  /** Only for `startupProbe.http`. `path` holds the query too. */
  readonly http?: { readonly scheme: "HTTP" | "HTTPS"; readonly path: string };
}

/** Knative's default, which the original program had too. */
const DEFAULT_PORT = 8080;

/**
 * The port of one `PORT_<name>`; `undefined` for `-`, which means none, and with a warning for a name that no port can have.
 *
 * A variable cannot spell a dash, and a port's name holds no underscore: `PORT_tcp_echo` is `tcp-echo`, as in the original.
 *
 * @throws {KrunError} `SettingInvalid` when the value is no port.
 */
export function readNamedPort(setting: SettingText, warnings: string[]): PortSetting | undefined {
  const { env, text } = setting;
  const name = env.slice("PORT_".length).replaceAll("_", "-");
  if (!isPortName(name)) {
    warnings.push(
      `${env} makes no port: ${quoted(name)} is not a name of at most 15 lower case letters, digits and dashes`,
    );
    return undefined;
  }
  return text === "-" || text === "" ? undefined : { env, name, port: readPort(setting) };
}

/** The port of PORT. @throws {KrunError} `SettingInvalid` when the value is no port. */
export function readMainPort(setting: SettingText): PortSetting {
  return { env: setting.env, port: readPort(setting) };
}

/**
 * The probe of `startupProbe.http`: a whole URL, or a path on the program's own port.
 *
 * @throws {KrunError} `SettingInvalid` when it is neither.
 */
export function readHttpProbe({ env, text }: SettingText, ports: readonly PortSetting[]): StartupProbeSetting {
  if (text.startsWith("/") && !/[\s\0]/.test(text)) {
    return { env, host: "127.0.0.1", port: programPort(ports), http: { scheme: "HTTP", path: text } };
  }
  const url = URL.parse(text);
  const scheme = url?.protocol === "http:" ? "HTTP" : url?.protocol === "https:" ? "HTTPS" : undefined;
  if (!url || !scheme || url.username !== "" || url.hostname === "") {
    throw settingInvalid(env, `${quoted(text)} is not an http or https URL, nor a path`, "http://127.0.0.1:8080/ready");
  }
  const port = url.port === "" ? (scheme === "HTTP" ? 80 : 443) : Number(url.port);
  return { env, host: url.hostname.replace(/^\[|\]$/g, ""), port, http: { scheme, path: url.pathname + url.search } };
}

/**
 * The probe of `startupProbe.tcp`: `host:port`, or a port of 127.0.0.1.
 *
 * @throws {KrunError} `SettingInvalid` when it is neither.
 */
export function readTcpProbe({ env, text }: SettingText): StartupProbeSetting {
  const [, bracketed, plain, digits = ""] = /^(?:(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/[\]]*)):)?(\d+)$/.exec(text) ?? [];
  const port = portNumber(digits);
  if (port === undefined) throw settingInvalid(env, `${quoted(text)} is not host:port, nor a port`, "127.0.0.1:8080");
  return { env, host: (bracketed ?? plain) || "127.0.0.1", port };
}

function programPort(ports: readonly PortSetting[]): number {
  return (ports.find(({ name }) => name === "http") ?? ports.find(({ name }) => name === undefined))?.port ??
    DEFAULT_PORT;
}
