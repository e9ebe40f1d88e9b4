/**
 * docs/pod.md: which fields of a KRUN_POD manifest krun makes true, and which have no effect.
 *
 * @module
 */
import { POD_FIELDS, type PodObject } from "../src/core/pod_fields.ts";

/** The text of the page, after its title and mark. */
export function podPage(): string {
  const sections = Object.entries(POD_FIELDS).map(([path, object]) => section(path, object));
  return `
krun reads a manifest of kind Pod as the API server does: a field that Kubernetes 1.34 has not is an error that names the nearest
one. What krun does not make true is accepted, and named in one warning at the start and in \`krun --check\`; a value that asks
for nothing (\`privileged: false\`, an empty list, what the API server fills in) is not. krun confines nothing: the program runs
on the machine as any other, with the user and groups that the manifest says. \`spec.containers[]\` stands for
\`spec.initContainers[]\` too.

| In the tables | |
|---|---|
| yes | as in a Pod; the note says where krun differs |
| no | no effect; a warning names it |
| moot | means nothing here; no warning |
| error | krun refuses to start |
${sections.join("")}
## Volumes

\`secret\`, \`configMap\`, \`downwardAPI\`, \`projected\` (\`secret\`, \`configMap\`, \`downwardAPI\`, \`serviceAccountToken\`) with all their
fields, \`emptyDir\` as above, and \`hostPath\`, whose \`DirectoryOrCreate\` and \`FileOrCreate\` create nothing. The sources
\`clusterTrustBundle\` and \`podCertificate\`, the \`fileKeyRef\` of a variable, and a volume of any other kind that a container mounts
are errors.

## The whole manifest

\`status\` means nothing, but \`podIP\` and \`podIPs\` are what \`fieldRef\` shows. Probes and handlers have all their fields.
Images are not read: a container needs a \`command\`, or is the program that krun's arguments name.
`;
}

function section(path: string, { honoured, ignored = {}, moot = {}, refused = {} }: PodObject): string {
  const rows = [
    ...Object.entries(honoured).map(([field, says]) => row(field, "yes", says)),
    ...Object.entries(ignored).map(([field, { says }]) => row(field, "no", says)),
    ...Object.entries(moot).map(([field, says]) => row(field, "moot", says)),
    ...Object.entries(refused).map(([field, says]) => row(field, "error", says)),
  ];
  return `\n## ${path}\n\n| Field | Effect | Note |\n|---|---|---|\n${rows.join("")}`;
}

function row(field: string, effect: string, says: string): string {
  return `| \`${field}\` | ${effect} | ${says.replaceAll("<", "\\<")} |\n`.replace("|  |", "| |");
}
