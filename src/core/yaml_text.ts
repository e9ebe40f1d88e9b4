/**
 * Plain data as YAML in block style, for a person to read. In: what JSON can hold. Out: text.
 *
 * @module
 */

/** What JSON can hold. */
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain };

/** The lines of a value, each with its line break, indented by so many blanks. A list stands below its key without more of them. */
export function yamlText(value: Plain, indent = 0): string {
  const blanks = " ".repeat(indent);
  if (isList(value)) return value.map((item) => `${blanks}- ${yamlText(item, indent + 2).slice(indent + 2)}`).join("");
  if (typeof value !== "object" || value === null) return `${blanks}${scalar(value)}\n`;
  return Object.entries(value).map(([key, inner]) => {
    const isBlock = typeof inner === "object" && inner !== null && Object.keys(inner).length > 0;
    if (!isBlock) return `${blanks}${scalar(key)}: ${scalar(inner)}\n`;
    return `${blanks}${scalar(key)}:\n${yamlText(inner, isList(inner) ? indent : indent + 2)}`;
  }).join("");
}

function isList(value: Plain): value is readonly Plain[] {
  return Array.isArray(value);
}

/** A word that YAML could take for nothing else stands as it is; all others as in JSON, which is YAML. */
function scalar(value: Plain): string {
  const isWord = typeof value === "string" && /^[A-Za-z][A-Za-z0-9_./@-]*$/.test(value) &&
    !/^(true|false|yes|no|on|off|null|y|n)$/i.test(value);
  return isWord ? value : JSON.stringify(value);
}
