/**
 * Text of a file goes in, the values it holds come out, each with the lines its fields stand on. JSON is read here; YAML
 * (`kube/yaml_documents.ts`) gives the same values by a package that only a YAML file is worth loading for.
 *
 * @module
 */

/** Way from a document's root to a field: names of objects' fields, positions in lists. */
export type FieldPath = readonly (string | number)[];

/** One document of a file. */
export interface SourceDocument {
  /** Plain data: objects, arrays, text, numbers, booleans, null. `undefined` or null: an empty document. */
  readonly value: unknown;
  /** Line, from 1, of the field or of the nearest thing around it that has one. */
  lineOf(path: FieldPath): number | undefined;
}

/** A text that cannot be read. The reason never quotes the text: it may be a Secret's. */
export class SourceFault extends Error {
  override readonly name = "SourceFault";

  constructor(
    /** What is wrong, without a final full stop. */
    readonly reason: string,
    /** From 1. */
    readonly line?: number,
    /** From 1. */
    readonly column?: number,
  ) {
    super(reason);
  }

  /** `line 2, column 4`, as far as it is known; else empty. */
  get place(): string {
    if (this.line === undefined) return "";
    return `line ${this.line}${this.column === undefined ? "" : `, column ${this.column}`}`;
  }
}

/** Reads every document of a text. @throws {SourceFault} when it cannot. */
export type DocumentParser = (text: string) => SourceDocument[];

/**
 * Reads JSON documents that stand one after the other, as kubectl does.
 *
 * @throws {SourceFault}
 */
export function parseJsonDocuments(text: string): SourceDocument[] {
  return jsonPieces(text).map(({ piece, line, column }) => {
    try {
      const value: unknown = JSON.parse(piece);
      return { value, lineOf: () => line };
    } catch (error) {
      throw new SourceFault("it is not valid JSON", ...faultPlace(error, { line, column }));
    }
  });
}

interface JsonPiece {
  readonly piece: string;
  /** Line of its first character. */
  readonly line: number;
  /** Column of its first character. */
  readonly column: number;
}

/** Cuts a text after each bracket that closes a document; what is left over is a piece too, for JSON.parse to refuse. */
function jsonPieces(text: string): JsonPiece[] {
  const pieces: JsonPiece[] = [];
  let start = 0;
  let line = 1;
  const take = (end: number) => {
    const whole = text.slice(start, end);
    const piece = whole.trimStart();
    const first = end - piece.length;
    const column = first - text.lastIndexOf("\n", first - 1);
    if (piece !== "") pieces.push({ piece, line: line + linesIn(whole) - linesIn(piece), column });
    line += linesIn(whole);
    start = end;
  };
  let depth = 0;
  // A string with its escapes counts as one thing: brackets inside it close nothing.
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/gs)) {
    if (token === "{" || token === "[") depth++;
    else if ((token === "}" || token === "]") && --depth === 0) take(index + 1);
  }
  take(text.length);
  return pieces;
}

function linesIn(text: string): number {
  return text.split("\n").length - 1;
}

/**
 * V8 puts the place in the piece at the end of some of its messages; the rest of the message may quote a Secret. Without it the
 * line is that of the piece.
 */
function faultPlace(error: unknown, piece: Pick<JsonPiece, "line" | "column">): [line: number, column?: number] {
  const place = /\(line (\d+) column (\d+)\)$/.exec(error instanceof Error ? error.message : "");
  if (!place) return [piece.line];
  const [line, column] = [Number(place[1]), Number(place[2])];
  return [piece.line + line - 1, line === 1 ? piece.column + column - 1 : column];
}
