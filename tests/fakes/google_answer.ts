/**
 * Answers in the form of Google's APIs, and what they refuse before they look at anything.
 *
 * @module
 */

/** A failure as a Google API tells it (google.rpc.Status). */
export class GoogleFault extends Error {
  constructor(
    readonly status: number,
    readonly rpc: string,
    message: string,
    readonly details: readonly unknown[] = [],
  ) {
    super(message);
  }

  /** As it goes over the wire. */
  response(): Response {
    const error = {
      code: this.status,
      message: this.message,
      status: this.rpc,
      ...(this.details.length > 0 && { details: this.details }),
    };
    return Response.json({ error }, { status: this.status });
  }
}

/** A failure as an OAuth endpoint tells it (RFC 6749, section 5.2). */
export class OAuthFault extends Error {
  constructor(readonly error: string, message: string, readonly status = 400) {
    super(message);
  }

  /** As it goes over the wire. */
  response(): Response {
    return Response.json({ error: this.error, error_description: this.message }, { status: this.status });
  }
}

/** 403 for a permission that is missing. */
export function denied(permission: string, resource: string): GoogleFault {
  const metadata = { permission, resource };
  return new GoogleFault(
    403,
    "PERMISSION_DENIED",
    `Permission '${permission}' denied on resource '${resource}' (or it may not exist).`,
    [
      {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        reason: "IAM_PERMISSION_DENIED",
        domain: "iam.googleapis.com",
        metadata,
      },
    ],
  );
}

/** Path of a request that has no query but the parameters named. @throws {GoogleFault} 400, as Google does for one it does not know */
export function pathOf(request: Request, parameters: readonly string[] = []): string {
  const { pathname, searchParams } = new URL(request.url);
  for (const name of searchParams.keys()) {
    if (!parameters.includes(name)) {
      throw new GoogleFault(
        400,
        "INVALID_ARGUMENT",
        `Invalid JSON payload received. Unknown name "${name}": Cannot bind query parameter.`,
      );
    }
  }
  return pathname;
}

/** A field of a body: whether it must be there, and what it must be. */
export interface BodyField {
  readonly type: "string" | "string[]" | "boolean";
  readonly required?: boolean;
}

/** The body of a POST, which has the named fields and no other. @throws {GoogleFault} 400 */
export async function bodyOf(
  request: Request,
  fields: Readonly<Record<string, BodyField>>,
): Promise<Record<string, unknown>> {
  if (request.method !== "POST") throw new GoogleFault(404, "NOT_FOUND", "Requested entity was not found.");
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json(;|$)/.test(type)) {
    throw new GoogleFault(400, "INVALID_ARGUMENT", "Request payload is not JSON.");
  }
  const body: unknown = await request.json().catch(() => undefined);
  if (typeof body !== "object" || body === null) {
    throw new GoogleFault(400, "INVALID_ARGUMENT", "Invalid JSON payload received.");
  }
  checkFields(body as Record<string, unknown>, fields);
  return body as Record<string, unknown>;
}

/** @throws {GoogleFault} 400 */
export function checkFields(body: Record<string, unknown>, fields: Readonly<Record<string, BodyField>>): void {
  const refuse = (words: string) => new GoogleFault(400, "INVALID_ARGUMENT", `Invalid JSON payload received. ${words}`);
  for (const [name, value] of Object.entries(body)) {
    const field = fields[name];
    if (field === undefined) throw refuse(`Unknown name "${name}": Cannot find field.`);
    const isRight = field.type === "string[]"
      ? Array.isArray(value) && value.every((one) => typeof one === "string")
      : field.type === "string"
      ? typeof value === "string"
      : typeof value === "boolean";
    if (!isRight) throw refuse(`Invalid value at '${name}' (TYPE_${field.type.toUpperCase()}).`);
  }
  for (const [name, { required }] of Object.entries(fields)) {
    if (required && !(name in body)) throw refuse(`Required field ${name} is missing.`);
  }
}
