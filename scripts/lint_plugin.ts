/**
 * The rules of this project that a machine can see. `deno lint` runs them on every file; tests/checks_test.ts has a case
 * that each of them refuses.
 *
 * Each rule gets the syntax tree of one file and reports what it refuses, with what to do instead.
 *
 * @module
 */
import { forbiddenImport, isProgramFile, isTestFile, layerOf } from "./layers.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const MAX_LINES = 500;

/** Path below the project's root. A name that is relative already (tests of this plugin) stays as it is. */
function projectPath(filename: string): string {
  return filename.startsWith(ROOT) ? filename.slice(ROOT.length) : filename;
}

// The tree's own types name each kind of node; for looking around, this is what all of them share.
interface AnyNode {
  readonly type: string;
  readonly range: Deno.lint.Range;
  readonly parent?: AnyNode;
  readonly [property: string]: unknown;
}

function same(a: unknown, b: AnyNode): boolean {
  const node = a as AnyNode | null | undefined;
  return node?.range?.[0] === b.range[0] && node.range[1] === b.range[1];
}

/** True when an identifier names a value, rather than a property, a key, an import or a type. */
function isValue(node: AnyNode): boolean {
  const parent = node.parent!;
  switch (parent.type) {
    case "MemberExpression":
      return parent.computed === true || !same(parent.property, node);
    case "Property":
      return parent.shorthand === true || !same(parent.key, node);
    case "MethodDefinition":
    case "PropertyDefinition":
      return parent.computed === true || !same(parent.key, node);
    case "ImportSpecifier":
    case "ExportSpecifier":
    case "LabeledStatement":
      return false;
    case "TSAsExpression":
    case "TSSatisfiesExpression":
    case "TSNonNullExpression":
      return true;
    default:
      return !parent.type.startsWith("TS");
  }
}

/** `name` in `object.name`, where `object` is this identifier. */
function memberName(node: AnyNode): string | undefined {
  const parent = node.parent!;
  if (parent.type !== "MemberExpression" || !same(parent.object, node)) return undefined;
  const property = parent.property as AnyNode;
  if (parent.computed !== true) return property.name as string;
  return property.type === "Literal" ? String(property.value) : undefined;
}

/** Names that reach outside: the machine, the clock, chance. */
const IMPURE = new Set(
  ("Deno fetch setTimeout setInterval setImmediate clearTimeout clearInterval performance crypto process console globalThis " +
    "Worker WebSocket EventSource navigator localStorage sessionStorage caches").split(" "),
);
/** Pure names with an impure member. */
const IMPURE_MEMBERS: Readonly<Record<string, string>> = { Math: "random", AbortSignal: "timeout", Temporal: "Now" };

/** What of a module only calculates. A signature is checked with them, and none is made: that takes chance. */
const PURE_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  "node:crypto": ["createHash", "createPublicKey", "getCurves", "verify", "KeyObject"],
};

/** `new Date(ms)`, `Date.UTC`, `Date.parse` and `instanceof Date` only calculate; the rest asks the clock. */
function readsClock(date: AnyNode): boolean {
  const parent = date.parent!;
  if (parent.type === "NewExpression" && same(parent.callee, date)) return (parent.arguments as unknown[]).length === 0;
  const member = memberName(date);
  if (member !== undefined) return member !== "UTC" && member !== "parse";
  return !(parent.type === "BinaryExpression" && parent.operator === "instanceof");
}

const pureCore: Deno.lint.Rule = {
  create(ctx) {
    const path = projectPath(ctx.filename);
    if (layerOf(path) !== "core" || isTestFile(path)) return {};
    const refuse = (node: Deno.lint.Node, what: string) =>
      ctx.report({ node, message: `src/core/ is pure and must not use ${what}`, hint: "Take it as an argument" });
    const refuseImport = (node: Deno.lint.Node, specifier: string) => {
      if (specifier.startsWith("node:") && !/^node:path(\/posix)?$/.test(specifier)) refuse(node, specifier);
    };
    return {
      Identifier(node) {
        const any = node as unknown as AnyNode;
        if (!isValue(any)) return;
        if (IMPURE.has(node.name)) refuse(node, node.name);
        else if (node.name === "Date" && readsClock(any)) refuse(node, "the clock");
        else if (IMPURE_MEMBERS[node.name] !== undefined && memberName(any) === IMPURE_MEMBERS[node.name]) {
          refuse(node, `${node.name}.${IMPURE_MEMBERS[node.name]}`);
        }
      },
      ImportDeclaration(node) {
        const pure = PURE_IMPORTS[node.source.value];
        const specifiers = node.specifiers as unknown as AnyNode[];
        const isPure = specifiers.length > 0 &&
          specifiers.every(({ imported }) => pure?.includes((imported as AnyNode | undefined)?.name as string));
        if (node.importKind !== "type" && !isPure) refuseImport(node, node.source.value);
      },
      ImportExpression(node) {
        if (node.source.type === "Literal") refuseImport(node, String(node.source.value));
      },
    };
  },
};

const MODE_NAME = /(^m|M)ode$|_MODE$|^MODE$|^umask$/;
const MODE_CALL = /^(f|l)?chmod(Sync)?$|^umask$/;

/** The name that says what a number is: of a property, a variable, a default value, or the other side of `&` and `|`. */
function nameOfNumber(node: AnyNode): unknown {
  const parent = node.parent!;
  const nameIn = (other: unknown) => {
    const at = other as AnyNode;
    return at.type === "MemberExpression" ? (at.property as AnyNode).name : at.name;
  };
  switch (parent.type) {
    case "Property":
    case "PropertyDefinition":
      return same(parent.value, node) ? nameIn(parent.key) : undefined;
    case "VariableDeclarator":
      return nameIn(parent.id);
    case "AssignmentPattern":
    case "AssignmentExpression":
      return nameIn(parent.left);
    case "BinaryExpression":
    case "LogicalExpression":
      return nameIn(same(parent.left, node) ? parent.right : parent.left);
    case "CallExpression":
      return MODE_CALL.test(String(nameIn(parent.callee))) ? "mode" : undefined;
  }
}

const octalMode: Deno.lint.Rule = {
  create(ctx) {
    return {
      Literal(node) {
        if (typeof node.value !== "number" || node.value === 0 || !/^[1-9]/.test(node.raw)) return;
        if (!MODE_NAME.test(String(nameOfNumber(node as unknown as AnyNode)))) return;
        ctx.report({
          node,
          message: `A file mode is written in octal, and ${node.raw} is not`,
          hint: `Write 0o... : 0o${node.value.toString(8)} is this value, 0o${node.raw} perhaps the one that is meant`,
        });
      },
    };
  },
};

/** Where the process environment, the arguments and the end of the process are. */
const MAIN_ONLY: Readonly<Record<string, readonly string[]>> = {
  Deno: ["env", "args", "exit", "exitCode"],
  process: ["env", "argv", "exit", "exitCode"],
};

const mainOnly: Deno.lint.Rule = {
  create(ctx) {
    const path = projectPath(ctx.filename);
    if (!isProgramFile(path) || path === "main.ts") return {};
    const refuse = (node: Deno.lint.Node, what: string) =>
      ctx.report({ node, message: `Only main.ts may use ${what}`, hint: "Take it as an argument" });
    return {
      Identifier(node) {
        const any = node as unknown as AnyNode;
        const own = MAIN_ONLY[node.name];
        if (own === undefined || !isValue(any)) return;
        const member = memberName(any);
        if (member !== undefined && own.includes(member)) refuse(node, `${node.name}.${member}`);
        const parent = any.parent!;
        // `const { env } = Deno` would hide the use from the line above.
        if (parent.type === "VariableDeclarator" && same(parent.init, any)) refuse(node, `${node.name} as a whole`);
      },
      ImportDeclaration(node) {
        if (node.source.value === "node:process") refuse(node, "node:process");
      },
    };
  },
};

const SHELL = /^(\/(usr\/)?bin\/)?(ba|da|z|k)?sh$/;

function literal(node: unknown): unknown {
  return (node as AnyNode | undefined)?.type === "Literal" ? (node as AnyNode).value : undefined;
}

const noShell: Deno.lint.Rule = {
  create(ctx) {
    if (isTestFile(projectPath(ctx.filename))) return {};
    const refuse = (node: Deno.lint.Node, what: string) =>
      ctx.report({
        node,
        message: `${what} passes values through a shell`,
        hint: "Start the program with an argv array",
      });
    return {
      ArrayExpression(node) {
        const [program, option, script] = node.elements as unknown as AnyNode[];
        if (!SHELL.test(String(literal(program))) || literal(option) !== "-c") return;
        // A fixed script is a program like any other; one that is put together is a place for injection.
        if (script?.type !== "Literal" && (script?.expressions as unknown[] | undefined)?.length !== 0) {
          refuse(node, "A shell line that is put together");
        }
      },
      NewExpression(node) {
        const program = literal((node.arguments as unknown as AnyNode[])[0]);
        const callee = node.callee as unknown as AnyNode;
        const isCommand = callee.type === "MemberExpression" && (callee.property as AnyNode).name === "Command";
        if (isCommand && SHELL.test(String(program))) refuse(node, `Deno.Command("${program}")`);
      },
      Property(node) {
        const key = node.key as unknown as AnyNode;
        if (key.name === "shell" && literal(node.value) === true) refuse(node, "The option shell");
      },
      ImportSpecifier(node) {
        const declaration = node.parent as unknown as AnyNode;
        if (literal(declaration.source) !== "node:child_process") return;
        const name = (node.imported as unknown as AnyNode).name as string;
        if (/^exec(Sync)?$/.test(name)) refuse(node, `node:child_process ${name}`);
      },
    };
  },
};

const layers: Deno.lint.Rule = {
  create(ctx) {
    const path = projectPath(ctx.filename);
    const judge = (node: Deno.lint.Node, specifier: string) => {
      const message = forbiddenImport(path, specifier);
      if (message) {
        ctx.report({ node, message, hint: "Move the shared part to src/core/, or wire the two in src/launch/" });
      }
    };
    const isPackage = (specifier: string) => !/^(\.|node:)/.test(specifier);
    return {
      ImportDeclaration(node) {
        judge(node, node.source.value);
        const specifiers = node.specifiers as unknown as AnyNode[];
        const typesOnly = node.importKind === "type" ||
          (specifiers.length > 0 && specifiers.every((s) => s.importKind === "type"));
        if (!typesOnly && isProgramFile(path) && isPackage(node.source.value)) {
          ctx.report({
            node,
            message: `${node.source.value} would be loaded at every start`,
            hint: "Use import type, or import() where it is needed",
          });
        }
      },
      ExportNamedDeclaration(node) {
        if (node.source) judge(node, node.source.value);
      },
      ExportAllDeclaration(node) {
        judge(node, node.source.value);
      },
      ImportExpression(node) {
        if (node.source.type === "Literal") judge(node, String(node.source.value));
      },
    };
  },
};

const FUNCTION = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;

const throwsDoc: Deno.lint.Rule = {
  create(ctx) {
    if (!isProgramFile(projectPath(ctx.filename))) return {};
    return {
      ThrowStatement(node) {
        const thrown = node.argument as unknown as AnyNode;
        if (thrown.type !== "NewExpression" || (thrown.callee as AnyNode).name !== "KrunError") return;
        // Nearest first: only a throw of the exported function itself counts, not one of a function inside it.
        const above = ctx.sourceCode.getAncestors(node).reverse();
        const at = above.findIndex((a) => FUNCTION.test(a.type));
        const declaration = above[at + 1];
        if (above[at]?.type !== "FunctionDeclaration" || declaration?.type !== "ExportNamedDeclaration") return;
        const docs = ctx.sourceCode.getCommentsBefore(declaration).at(-1)?.value ?? "";
        if (!docs.includes("@throws")) {
          ctx.report({
            node,
            message: "An exported function that throws a KrunError says so",
            hint: "Add @throws {KrunError} and the code",
          });
        }
      },
    };
  },
};

const fileLength: Deno.lint.Rule = {
  create(ctx) {
    return {
      Program() {
        const lines = ctx.sourceCode.text.split("\n").length - 1;
        if (lines <= MAX_LINES) return;
        ctx.report({
          range: [0, 1],
          message: `This file has ${lines} lines, and ${MAX_LINES} is the limit`,
          hint: "Split it by noun",
        });
      },
    };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "krun",
  rules: {
    "pure-core": pureCore,
    "octal-mode": octalMode,
    "main-only": mainOnly,
    "no-shell": noShell,
    "layers": layers,
    "throws-doc": throwsDoc,
    "file-length": fileLength,
  },
};

export default plugin;
