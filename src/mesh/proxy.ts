/**
 * Passes one request on to the program, and its answer back. Both bodies flow at once, none faster than it is taken.
 *
 * @module
 */
import { endToEndFields, programFields, programTrailers, takesTrailers } from "../core/proxy_fields.ts";
import { carry } from "../net/channel.ts";
import type { FrontRequest } from "./front_request.ts";
import { nothingAnswers, type Refusal, TEXT } from "./local_stream.ts";
import { askProgram, type Program, type ProgramExchange, UnaskedUpgrade } from "./program_request.ts";

/** Passes a request on. A program that does not answer is 502; an answer that is cut is a reset. Never rejects. */
export async function proxy(front: FrontRequest, program: Program): Promise<void> {
  const exchange = ask(front, program);
  if ("status" in exchange) return refuse(front, exchange);
  const reset = () => exchange.reset();
  front.body.broken.addEventListener("abort", reset);
  if (front.body.broken.aborted) reset();
  const sent = carry(front.body, exchange.body);
  const isWhole = await passBack(front, exchange, program.port);
  // The program needs no more of the body than it has read when it has answered.
  const isSent = await Promise.race([sent, Promise.resolve(false)]);
  if (!isWhole || !isSent) [exchange, front].forEach((side) => side.reset());
  front.body.broken.removeEventListener("abort", reset);
}

function ask(front: FrontRequest, program: Program): ProgramExchange | Refusal {
  try {
    return askProgram(program, {
      ...front,
      fields: programFields(front.fields),
      takesTrailers: takesTrailers(front.fields),
      trailers: () => programTrailers(front.trailers()),
    });
  } catch {
    return { status: 400, reason: "the request's head holds what no head can hold" };
  }
}

/** Whether the answer came to its end. */
async function passBack(front: FrontRequest, { answer }: ProgramExchange, port: number): Promise<boolean> {
  const found = await answer.catch((error: Error) => error);
  if (found instanceof Error) {
    refuse(front, { status: 502, reason: found instanceof UnaskedUpgrade ? found.message : nothingAnswers(port) });
    return true;
  }
  try {
    const sink = front.respond({ ...found, fields: endToEndFields(found.fields) });
    return await carry(found.body, sink);
  } catch {
    return false;
  }
}

/** Answers a request that is not passed on. */
export function refuse(front: FrontRequest, { status, reason }: Refusal): void {
  const endsWithHead = front.method === "HEAD";
  const said = endsWithHead ? new Uint8Array() : new TextEncoder().encode(`${reason}\n`);
  const answer = async () => {
    const sink = front.respond({ status, fields: [["content-type", TEXT]], endsWithHead, trailers: () => [] });
    await sink.write(said);
    sink.end();
  };
  // What the caller would still send is not wanted.
  answer().catch(() => {}).finally(() => front.reset());
}
