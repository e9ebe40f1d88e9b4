/**
 * The CAs of this machine, for a server whose CA nobody gives. In: the file that SSL_CERT_FILE names. Out: PEM texts.
 *
 * @module
 */

/** Where Go looks, and so kubectl: crypto/x509/root_linux.go (Go 1.24). The first that can be read counts. */
const FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/**
 * The machine's CAs as Go finds them, and Mozilla's as the runtime has them on a machine without any. Not among them: folders
 * of one file for each CA (SSL_CERT_DIR). Needs `--allow-read`. Never throws.
 */
export async function machineRoots(certFile?: string): Promise<readonly string[]> {
  for (const file of certFile === undefined ? FILES : [certFile]) {
    const pem = await Deno.readTextFile(file).catch(() => "");
    if (pem.includes("-----BEGIN CERTIFICATE-----")) return [pem];
  }
  // An explicit file that cannot be read means no CA, as for Go.
  if (certFile !== undefined) return [];
  // Loaded only here: 25 ms.
  return (await import("node:tls")).rootCertificates;
}
